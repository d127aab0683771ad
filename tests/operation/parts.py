"""All parts of daypass on one control plane, used and scraped: what an operator looks at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.running import running_agent
from cluster.authorizer_serving import NAME, Serving, authorizer_kubeconfig
from daypass._core.files import write_private
from daypass._core.secret import Secret
from daypass.kube.resources import SECRETS
from daypass.local.echo import Echo
from operation.prometheus import Target
from support.admin import AdminError
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.fake_door import credentials_document
from support.identities import Identity
from support.raw import bearer, exchange, get
from support.serving import gate_serve_over_tls
from support.tokens import AUDIENCE
from support.up import HOST, Up, up_config
from support.watching import (
    HOME,
    Watch,
    becomes_published,
    becomes_removed,
    identity_namespace,
    watched_config,
)

LABELS = {"namespace": HOME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Door and gate of `daypass up`, a watch, an authorizer and an agent, and an identity."""

    plane: ControlPlane
    up: Up
    watch: Watch
    authorizer: Serving
    identity: Identity
    targets: tuple[Target, ...]

    def exchange(self, path: str = "", token: Secret | None = None) -> int:
        """Ask the door for a token; the code of its answer."""
        body = b'{"spec": {"audiences": ["%s"]}}' % AUDIENCE.encode()
        path = path or f"/kubernetes{self.identity.token_path}"
        lines = (
            f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json",
            bearer(token or self.identity.token), f"Content-Length: {len(body)}", "", "",
        )  # fmt: skip
        return self.up.send("\r\n".join(lines).encode() + body).code

    def call(self, token: Secret | None) -> tuple[int, int]:
        """Ask the gate, and the authorizer; the codes of their answers."""
        lines = [] if token is None else [bearer(token)]
        with self.up.connect("gate") as connection:
            code = exchange(connection, get(*lines, host=HOST)).code
        return code, self.authorizer.ask(*lines, host=HOST).code

    def short_lived(self) -> Secret:
        return self.plane.make_token(self.identity, audiences=[AUDIENCE])

    def revoke_another(self) -> None:
        """Create an identity, and revoke it once the watch has published it."""
        other = self.plane.make_identity(self.identity.namespace, "other")
        becomes_published(self.plane, other.secret_uid)
        with admin_cluster(self.plane) as cluster:
            cluster.delete(SECRETS, other.secret_name, other.namespace)
        becomes_removed(self.plane, other.secret_uid)


@contextmanager
def running_operation(folder: Path, plane: ControlPlane) -> Iterator[Operation]:
    """All of it, on a plane that `support.watching.prepare` has prepared."""
    config = watched_config()
    identity = plane.make_identity(identity_namespace(plane))
    authority = Authority()
    with ExitStack() as stack:
        for name in ("watch", "authorizer", "up", "agent"):
            (folder / name).mkdir()
        watch = stack.enter_context(Watch(folder / "watch", plane, config))
        becomes_published(plane, identity.secret_uid)
        kubeconfig = authorizer_kubeconfig(plane, config, folder / "authorizer" / "kubeconfig")
        own = (
            f"version: 1\ndomains: {{a: {{host: {HOST}, front: envoy}}}}\n"
            f"door: {{namespace: {HOME}}}\n"
            f"gates: {{default: {{audience: {AUDIENCE}, engine: envoy, check: review}}}}\n"
        )
        served = stack.enter_context(
            gate_serve_over_tls(
                folder / "authorizer",
                own,
                authority.server(NAME, days=90),
                "--kubeconfig",
                str(kubeconfig),
            )
        )
        echo = stack.enter_context(Echo())
        up = stack.enter_context(
            Up(
                folder / "up",
                up_config(
                    plane,
                    local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', metrics: '127.0.0.1:0', "
                    f"apiServer: external, upstream: 'http://{echo.address}'}}",
                    gates=f"{{default: {{audience: {AUDIENCE}, engine: envoy, hosts: [{HOST}]}}}}",
                    limits="{requestsPerSecond: 100, perSourcePerSecond: 40}",
                    door="{namespace: gate-tests}",
                ),
                arguments=["--kubeconfig", str(plane.kubeconfig)],
            )
        )
        up.wait_for_words("the gate has taken the API server's signing keys")
        document = credentials_document(
            up.door, certificateAuthority=up.authority_file.read_text(),
            token=identity.token.reveal(), audience=AUDIENCE,
        )  # fmt: skip
        files = folder / "agent"
        write_private(str(files / "bot.json"), json.dumps(document).encode())
        (files / "agent.toml").write_text(
            f'credentials = "{files}/bot.json"\nlisten = "127.0.0.1:0"\n'
            f'[[token]]\naudience = "{AUDIENCE}"\npath = "{files}/token"\n'
        )
        agent = stack.enter_context(running_agent(files / "agent.toml"))
        agent.wait_for("ready")
        addresses = {
            "daypass-door": up.ready["listen"]["metrics"],
            "daypass-gate": served.status,
            "daypass-gate-watch": watch.address(),
            "daypass-agent": agent.url("").removeprefix("http://"),
        }
        yield Operation(
            plane=plane, up=up, watch=watch, identity=identity,
            authorizer=Serving(served=served, authority=authority, home=HOME),
            targets=tuple(
                Target(job=job, address=address, labels=LABELS)
                for job, address in addresses.items()
            ),
        )  # fmt: skip


@contextmanager
def repeated(*steps: Callable[[], object]) -> Iterator[None]:
    """Each step again and again, on a thread of its own.

    A server may not answer: that is what some tests are about.
    """
    stop = threading.Event()

    def repeat(step: Callable[[], object]) -> None:
        while not stop.wait(0.05):
            with suppress(OSError, AdminError):
                step()

    threads = [threading.Thread(target=repeat, args=[step]) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def exchanges(operation: Operation) -> None:
    """What the door gets: most of it is an exchange."""
    for _ in range(8):
        operation.exchange()
    operation.exchange(token=Secret("a.b.c"))
    operation.exchange("/nothing")


def calls(operation: Operation) -> None:
    """What the gates get: most of it passes."""
    token = operation.short_lived()
    for _ in range(8):
        operation.call(token)
    operation.call(None)
    operation.call(operation.plane.make_token(operation.identity, audiences=["another"]))
