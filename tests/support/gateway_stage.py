"""A Gateway of Envoy Gateway that is guarded by the rendered gate, with services behind it."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.reasons import Reason
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import gate_objects, render_objects
from daypass.render.objects import GATE, GATE_TRUST, Object
from support.authority import Authority
from support.children import Child
from support.clusters import account_token, write_kubeconfig
from support.controlplane import ISSUER, ControlPlane
from support.deadline import eventually
from support.doors import post
from support.envoy_gateway import (
    apply,
    conditions,
    config_map,
    delete,
    endpoints,
    find,
    gateway,
    listener,
    namespace,
    route,
    service,
    tls_secret,
)
from support.gate_differences import told
from support.identities import Identity
from support.ports import free_ports
from support.raw import Answer, connect, exchange
from support.rendered import config_of, the

HOST, OTHER = "ekf.example.com", "other.example.com"
INFRA, APPS, DOORS = "guarded", "apps", "edge"
"""Namespaces: of the Gateway, of the services, and of door and authorizer."""

AUDIENCE = "gate.example.com"
PUBLIC = Authority()
FACTS = ClusterFacts(issuer=ISSUER)


def config_text(gate: str, on: str) -> str:
    """A daypass.yaml with a door and a gate on one Gateway."""
    return f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains:
  ekf: {{host: {HOST}, front: gateway-api, gateway: {INFRA}/public, tls: outside}}
door: {{namespace: {DOORS}}}
limits: {{requestsPerSecond: 10000, perSourcePerSecond: 10000}}
gate:
  audience: {AUDIENCE}
  engine: envoy-gateway
  gateway: {on}
  image: registry.example.com/daypass:1
  remember: 1s
  {gate}
"""


def config(gate: str = "check: review", *, on: str = f"{INFRA}/public") -> Config:
    """The same, read. `on`: what the gate guards of the Gateway."""
    return config_of(config_text(gate, on))


def gate(kind: str, of: Config | None = None) -> Object:
    """The gate's own object of a kind."""
    return the(gate_objects(of or config(), FACTS), kind, GATE)


def policies(of: Config) -> list[Object]:
    """What of the gate is Envoy Gateway's."""
    found = gate_objects(of, FACTS)
    return [each for each in found if each["apiVersion"].startswith("gateway.envoyproxy.io/")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """`daypass gate serve`, in a process of its own."""

    process: Child

    @property
    def port(self) -> int:
        """Where it listens; OSError while it does not."""
        self.process.check()
        found = re.search(r"listens at 127\.0\.0\.1:(\d+)", self.process.log.read_text())
        if found is None:
            raise ConnectionRefusedError("it does not listen yet")
        return int(found[1])

    @property
    def events(self) -> list[Any]:
        """What it has decided so far."""
        lines = self.process.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass(slots=True, kw_only=True)
class Stage:
    """A Gateway, whose hosts lead to an echo service, and the authorizer that it asks."""

    plane: ControlPlane
    folder: Path
    authority: Authority
    identity: Identity
    port: int
    plain_port: int
    usual: Authorizer | None = None

    def send(self, *headers: str, path: str = "/pipeline", host: str = HOST) -> Answer:
        """A GET with these header lines."""
        return self.exchange(post(path, host=host, method="GET", headers=headers, body=b""), host)

    def exchange(self, request: bytes, host: str = HOST) -> Answer:
        """A request as bytes, on a connection of its own."""
        with connect(self.port, authority_pem=PUBLIC.pem, name=host) as connection:
            return exchange(connection, request)

    def bearer(self, **shape: Any) -> str:
        """An Authorization line with a short-lived token of this shape."""
        token = self.plane.make_token(self.identity, **{"audiences": [AUDIENCE], **shape})
        return f"Authorization: Bearer {token.reveal()}"

    @contextmanager
    def authorizer(
        self,
        gate: str = "check: review",
        *,
        authority: Authority | None = None,
        shown: str = "",
        is_watched: bool = False,
    ) -> Iterator[Authorizer]:
        """An authorizer of this gate, where the rendered policies look for it, and no other.

        `authority`, `shown`: who signed its certificate, and for what name, instead of its own.
        `is_watched`: it follows what the watch publishes, with the rights rendered for it.
        """
        pair = (authority or self.authority).server(shown or f"{GATE}.{DOORS}.svc")
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "tls.crt").write_text(pair.certificate_pem)
        (folder / "tls.key").write_text(pair.key_pem)
        (folder / "daypass.yaml").write_text(config_text(gate, f"{INFRA}/public"))
        kubeconfig = self.plane.kubeconfig
        if is_watched:
            kubeconfig = folder / "kubeconfig"
            write_kubeconfig(self.plane, account_token(self.plane, DOORS, GATE), kubeconfig)
        command = [
            sys.executable, "-m", "daypass", "gate", "serve",
            *(() if is_watched else ("--without-watch",)),
            "--kubeconfig", str(kubeconfig), "--drain", "0s",
            "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0",
            "--certificate", "tls.crt", "--key", "tls.key",
        ]  # fmt: skip
        process = Child(command, log=folder / "authorizer.log", folder=folder)
        try:
            running = Authorizer(process=process)
            port = eventually("the authorizer listens", lambda: running.port)
            apply(self.plane, endpoints(GATE, DOORS, port))
            yield running
        finally:
            process.stop()
            if self.usual is not None:
                apply(self.plane, endpoints(GATE, DOORS, self.usual.port))
                self.wait()

    def wait(self) -> None:
        """Wait until requests with a token pass, and no others."""

        def as_it_should_be() -> bool:
            return (self.send(self.bearer()).code, self.send().code) == (200, 401)

        eventually("the gate is as it should be", as_it_should_be, seconds=120)

    def closed(self, *headers: str) -> Answer:
        """The first answer that is no service's; it may take a moment until it is in force."""

        def ask() -> Answer | None:
            answer = self.send(*headers)
            return None if answer.code == 200 else answer

        return eventually("it is refused", ask)

    @contextmanager
    def changed(self, document: Object) -> Iterator[None]:
        """An object as it is here, and afterwards as it was before."""
        before = find(self.plane, document)
        apply(self.plane, document)
        try:
            yield
        finally:
            apply(self.plane, before)
            self.wait()

    @contextmanager
    def without(self, document: Object) -> Iterator[None]:
        """Without an object, for a while."""
        delete(self.plane, document)
        try:
            yield
        finally:
            apply(self.plane, document)
            self.wait()

    @contextmanager
    def added(self, document: Object) -> Iterator[Object]:
        """With one more object, for a while."""
        apply(self.plane, document)
        try:
            yield document
        finally:
            delete(self.plane, document)
            self.wait()

    def said(self, document: Object, condition: str) -> tuple[str, str]:
        """Status and message of a condition of an object; empty where nobody has said it."""
        return conditions(self.plane, document).get(condition, ("", ""))


@contextmanager
def running_stage(folder: Path, plane: ControlPlane, echo_port: int) -> Iterator[Stage]:
    """The rendered gate on a Gateway; after Envoy Gateway was started on the cluster."""
    port, plain_port = free_ports(2)
    stage = Stage(
        plane=plane,
        folder=folder,
        authority=Authority(),
        identity=plane.make_identity(),
        port=port,
        plain_port=plain_port,
    )
    apply(plane, namespace(INFRA), namespace(APPS))
    apply(
        plane,
        *render_objects(config(), FACTS),
        config_map(GATE_TRUST, DOORS, **{"ca.crt": stage.authority.pem}),
        service("echo", APPS, 80),
        endpoints("echo", APPS, echo_port),
        tls_secret("public", INFRA, PUBLIC.server(HOST, OTHER)),
        gateway(
            "public",
            INFRA,
            listener("https", port, secret="public"),
            listener("http", plain_port),
        ),
        route("echo", APPS, gateway=f"{INFRA}/public", host=HOST, service="echo"),
    )
    with stage.authorizer() as usual:
        stage.wait()
        stage.usual = usual
        yield stage
        stage.usual = None


def headers_seen(answer: Answer) -> dict[str, str]:
    """The headers that arrived at the service."""
    assert answer.code == 200, answer
    return dict(answer.json["headers"])


def refused(answer: Answer, code: int, reason: Reason) -> None:
    """Assert that the gate has said no, in JSON."""
    assert answer.code == code, answer
    assert answer.headers["content-type"] == "application/json"
    assert "location" not in answer.headers
    assert (answer.json["kind"], answer.json["code"]) == ("Status", code)
    assert told(answer) is reason
