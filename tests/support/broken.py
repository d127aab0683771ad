"""Door and gate that break in ways an operator meets, and a Prometheus that watches them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daypass._core.secret import Secret
from daypass.local.echo import Echo
from daypass.render.monitoring.alerts_and_dashboard import alerts_text
from support.authority import Authority
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.operation import repeated
from support.ports import free_ports
from support.prometheus import Prometheus, Target, running_prometheus
from support.raw import bearer, connect, exchange, get
from support.relays import Relay
from support.tokens import AUDIENCE, ISSUER
from support.up import HOST, Up, up_config

HOME = "gate-tests"
"""Where `daypass up` keeps denials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`daypass up` before a real API server, in use. `break_it`: does what breaks it."""

    folder: Path
    prometheus: Prometheus
    status: tuple[str, ...]
    break_it: Callable[[], object]


class SlowRelay(Relay):
    """A way to the API server on which, once `is_slow`, each request takes longer."""

    def __init__(self, plane: ControlPlane, seconds: float) -> None:
        super().__init__()
        address = urlsplit(plane.url)
        self._server = (address.hostname, address.port)
        self._seconds = seconds
        self._ended = threading.Event()
        self.is_slow = threading.Event()

    def dial(self) -> socket.socket:
        return socket.create_connection(self._server)

    def sent(self, connection: socket.socket, data: bytes) -> None:
        if self.is_slow.is_set():
            self._ended.wait(self._seconds)

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        super().__exit__(*error)


@contextmanager
def slow_api_server(folder: Path, plane: ControlPlane) -> Iterator[Machine]:
    """The API server takes 1.5 s for what it answered at once."""
    with SlowRelay(plane, 1.5) as relay:
        cluster = (
            f"{{server: 'https://127.0.0.1:{relay.port}', certificateAuthority: {plane.ca_path}, "
            "serverName: kubernetes.default.svc}"
        )
        with _machine(folder, plane, relay.is_slow.set, cluster=cluster) as machine:
            yield machine


@contextmanager
def rotated_key(folder: Path, plane: ControlPlane) -> Iterator[Machine]:
    """The API server gets another signing key, which the file that the gate's config names lacks.
    `plane` must not be shared.
    """
    keys = folder / "keys.json"
    keys.write_text(json.dumps(plane.admin.get("/openid/v1/jwks")))
    cluster = (
        f"{{server: {plane.url}, certificateAuthority: {plane.ca_path}, "
        f"serverName: kubernetes.default.svc, issuer: {ISSUER}, keys: {keys}}}"
    )

    def rotate() -> None:
        plane.sign_with("next", verified=["sa", "next"])

    with _machine(folder, plane, rotate, cluster=cluster) as machine:
        yield machine


@contextmanager
def expiring_certificate(folder: Path, plane: ControlPlane) -> Iterator[Machine]:
    """The door's certificate, which was good for long, is replaced by one for three days."""
    authority = Authority()
    files = folder / "tls.crt", folder / "tls.key"

    def write(days: int) -> None:
        made = authority.server(HOST, days=days)
        for file, text in zip(files, (made.certificate_pem, made.key_pem), strict=True):
            new = file.with_suffix(".new")
            new.touch(0o600)
            new.write_text(text)
            new.replace(file)

    write(60)
    tls = f"{{files: {{certificate: {files[0]}, key: {files[1]}}}}}"
    domains = f"{{lab: {{host: {HOST}, front: envoy, tls: {tls}}}}}"
    pem = authority.pem
    with _machine(folder, plane, lambda: write(3), pem, domains=domains) as machine:
        yield machine


@contextmanager
def _machine(
    folder: Path, plane: ControlPlane, break_it: Callable[[], object], authority_pem: str = "",
    **changes: str,
) -> Iterator[Machine]:  # fmt: skip
    (port,) = free_ports(1)
    state = str(folder / "state")
    with Echo() as echo:
        config = up_config(
            plane,
            local=f"{{door: '127.0.0.1:0', gate: '127.0.0.1:0', metrics: '127.0.0.1:{port}', "
            f"apiServer: external, upstream: 'http://{echo.address}'}}",
            gate=f"{{audience: {AUDIENCE}, engine: envoy, hosts: [{HOST}]}}",
            door=f"{{namespace: {HOME}}}",
            **changes,
        )
        identity = plane.make_identity()
        arguments = ["--kubeconfig", str(plane.kubeconfig), "--state", state]
        with Up(folder, config, arguments=arguments) as up:
            pem = authority_pem or up.authority_file.read_text()
            assert up.ready, up.words
            eventually("the gate accepts a token", lambda: use(up, identity, pem) == 200)
            target = Target(job="daypass-door", address=f"127.0.0.1:{port}", labels={})
            (folder / "prometheus").mkdir()
            (folder / "alerts.yaml").write_text(alerts_text())
            with (
                running_prometheus(
                    folder / "prometheus", target, rules=folder / "alerts.yaml"
                ) as prometheus,
                repeated(lambda: use(up, identity, pem)),
            ):
                prometheus.wait_for_targets()
                yield Machine(
                    folder=folder,
                    prometheus=prometheus,
                    status=("--config", str(up.config_file), "--state", state),
                    break_it=break_it,
                )


def use(up: Up, identity: Identity, authority_pem: str) -> int:
    """Obtain a token at the door, and call what the gate guards with it, as a bot does; the code of
    the last answer.
    """
    bound = {"kind": "Secret", "name": identity.secret_name, "uid": identity.secret_uid}
    spec = {"audiences": [AUDIENCE], "boundObjectRef": {"apiVersion": "v1", **bound}}
    body = json.dumps({"spec": spec}).encode()
    lines = (
        f"POST /kubernetes{identity.token_path} HTTP/1.1", f"Host: {HOST}",
        "Content-Type: application/json", bearer(identity.token), f"Content-Length: {len(body)}",
    )  # fmt: skip
    door, gate = (int(up.ready["listen"][part].rpartition(":")[2]) for part in ("door", "gate"))
    with connect(door, authority_pem=authority_pem, name=HOST) as connection:
        answer = exchange(connection, "\r\n".join([*lines, "", ""]).encode() + body)
    if answer.code != 201:
        return answer.code
    token = Secret(answer.json["status"]["token"])
    with connect(gate, authority_pem=authority_pem, name=HOST) as connection:
        return exchange(connection, get(bearer(token), host=HOST)).code
