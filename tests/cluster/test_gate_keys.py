"""Signing keys of two real API servers are rotated, in the order that Kubernetes prescribes."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from daypass._core.files import write_private
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.config.gate import DEFAULT_GATE
from daypass.render.names import gate_prefix
from support.admin import Admin
from support.authority import Authority
from support.children import Child
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import make_token
from support.ports import reserve
from support.raw import connect
from support.relays import Relay
from support.serving import gate_serve_over_tls
from support.tokens import ISSUER
from support.traffic import Traffic
from support.up import HOST, Up, up_config
from support.up_gate import AUDIENCE
from support.watching import Watch, prepare, watched_config


class AnotherApiServer:
    """A second API server on the etcd of a control plane, as one of several machines has it."""

    def __init__(self, plane: ControlPlane, port: int) -> None:
        self.port = port
        self.admin = Admin(url=f"https://127.0.0.1:{port}", context=plane.admin.context)
        self._plane = plane
        # Of a flag that is there twice, the last one counts.
        own = (f"--secure-port={port}", "--audit-log-path=another-audit.log")
        self._flags = [*plane.flags, *own]
        self._child = self._start(self._flags)

    def _start(self, flags: Sequence[str]) -> Child:
        log = "another-kube-apiserver"
        child = self._plane.start_child("kube-apiserver", flags, log=log)

        def is_ready() -> bool:
            child.check()
            return self.admin.request("GET", "/readyz").code == 200

        eventually("the other API server is ready", is_ready)
        return child

    def sign_with(self, name: str, *, verified: Sequence[str]) -> None:
        """As the first one's."""
        self.stop()
        self._child = self._start(self._plane.signing_with(self._flags, name, verified))

    def stop(self) -> None:
        self._child.stop()


@contextmanager
def another_api_server(plane: ControlPlane) -> Iterator[AnotherApiServer]:
    with reserve(socket.SO_REUSEPORT) as reserved:
        other = AnotherApiServer(plane, int(reserved.getsockname()[1]))
        try:
            yield other
        finally:
            other.stop()


class Balancer(Relay):
    """Leads each connection to the next of some ports of 127.0.0.1 where a server listens."""

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self._ports = itertools.cycle(ports)
        self._count = len(ports)

    def dial(self) -> socket.socket:
        for port in itertools.islice(self._ports, self._count):
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", port))
        raise ConnectionRefusedError

    def kubeconfig(self, plane: ControlPlane, file: Path) -> Path:
        """Write a kubeconfig for the API servers behind it, with the rights of `plane.admin`."""
        document = json.loads(plane.kubeconfig.read_text())
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        write_private(str(file), json.dumps(document).encode())
        return file


TAKEN = "the gate has taken the API server's signing keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`has_taken`: whether it knows another set of keys than the first one."""

    host: str
    connect: Callable[[], ssl.SSLSocket]
    has_taken: Callable[[], bool]
    path: str = "/"


@contextmanager
def on_one_machine(
    plane: ControlPlane, kubeconfig: Path, folder: Path, check: str
) -> Iterator[Gate]:
    config = up_config(
        plane,
        local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external}",
        gates=f"{{default: {{audience: {AUDIENCE}, engine: envoy, check: {check}, "
        f"hosts: [{HOST}]}}}}",
    ).replace(plane.url, url_in(kubeconfig))
    with Up(folder, config, arguments=["--kubeconfig", str(kubeconfig)]) as up:
        yield Gate(
            host=HOST, connect=lambda: up.connect("gate"),
            has_taken=lambda: up.words.count(TAKEN) > 1,
        )  # fmt: skip


@contextmanager
def of_envoy_gateway(kubeconfig: Path, folder: Path) -> Iterator[Gate]:
    """The authorizer, asked as Envoy Gateway asks it. It reads the keys of tokens that it does not
    know."""
    host, authority = "lab.example.com", Authority()
    config = (
        f"version: 1\ncluster: {{issuer: '{ISSUER}'}}\n"
        f"domains: {{lab: {{host: {host}, front: gateway-api, gateway: infra/public, "
        f"tls: outside}}}}\npolicy: {{audiences: [{AUDIENCE}]}}\n"
        f"gates: {{default: {{audience: {AUDIENCE}, engine: envoy-gateway, gateway: infra/public, "
        "check: review}}\n"
    )
    arguments = ("--kubeconfig", str(kubeconfig), "--without-watch")
    with gate_serve_over_tls(folder, config, authority.server(HOST), *arguments) as served:
        port, pem = served.port, authority.pem
        yield Gate(
            host=host, connect=lambda: connect(port, authority_pem=pem, name=HOST),
            has_taken=lambda: True, path=f"{gate_prefix(DEFAULT_GATE)}/",
        )  # fmt: skip


def istios_watch(plane: ControlPlane, url: str, folder: Path) -> Watch:
    config = watched_config()
    prepare(plane, config)
    return Watch(folder, plane, config, url=url)


def url_in(kubeconfig: Path) -> str:
    return str(json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])


class Callers:
    """Traffic with one token at each gate."""

    def __init__(self, gates: Mapping[str, Gate], token: Secret) -> None:
        self.all = {
            name: Traffic(connect=gate.connect, host=gate.host, token=token, path=gate.path)
            for name, gate in gates.items()
        }

    @contextmanager
    def flowing(self) -> Iterator[None]:
        with ExitStack() as stack:
            for each in self.all.values():
                stack.enter_context(each.flowing())
            yield

    def becomes(self, code: int) -> None:
        """All are answered with this code, and what came before does not count."""
        eventually(f"a {code}", lambda: {each.last for each in self.all.values()} == {code})
        for each in self.all.values():
            each.codes.clear()

    def passes(self) -> None:
        """More of it passes, and nothing was refused."""
        wanted = {name: each.codes.total() + 20 for name, each in self.all.items()}

        def has_flown() -> bool:
            return all(self.all[name].codes.total() > count for name, count in wanted.items())

        eventually("more has been answered", has_flown)
        refused = {name: each.codes for name, each in self.all.items() if {*each.codes} != {200}}
        assert refused == {}


def test_a_rotation_of_signing_keys_refuses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folders = tmp_path_factory.mktemp
    with (
        ControlPlane.start(folders("plane")) as plane,
        another_api_server(plane) as other,
        Balancer(plane.port, other.port) as balancer,
        ExitStack() as stack,
    ):
        kubeconfig = balancer.kubeconfig(plane, folders("balanced") / "kubeconfig")
        gates = {
            check: stack.enter_context(on_one_machine(plane, kubeconfig, folders("up"), check))
            for check in ("jwt", "review")
        }
        gates["authorizer"] = stack.enter_context(of_envoy_gateway(kubeconfig, folders("serve")))
        identity = plane.make_identity()
        tokens = {"old": plane.make_token(identity, audiences=[AUDIENCE])}
        old = Callers(gates, tokens["old"])
        with old.flowing(), ExitStack() as watching:
            old.becomes(200)
            watch = istios_watch(plane, url_in(kubeconfig), folders("watch"))
            watching.callback(watch.end)
            published = partial(watch.events, "keys")
            eventually("the watch has published them", published)
            for server in (plane, other):
                server.sign_with("sa", verified=["sa", "next"])
            # An administrator waits between the steps: keys are read every 10 s.
            for gate in gates.values():
                eventually("it has taken the next key", gate.has_taken)
            eventually("so has the watch", lambda: len(published()[-1]["kids"]) == 2)
            for server in (plane, other):
                server.sign_with("next", verified=["sa", "next"])
                for name, made_by in (("new", plane), ("other", other)):
                    tokens[name] = make_token(made_by.admin, identity, audiences=[AUDIENCE])
                    one = Callers(gates, tokens[name])
                    with one.flowing():
                        one.passes()
            old.passes()
            keys = {name: key_of(token) for name, token in tokens.items()}
            assert keys["old"] != keys["new"] == keys["other"]
            assert {*published()[-1]["kids"]} == {*keys.values()}
            assert all(keys["old"] in each["kids"] for each in published())
        new = Callers(gates, tokens["new"])
        with new.flowing():
            for server in (plane, other):
                server.sign_with("next", verified=["next"])
            with old.flowing():
                old.becomes(401)
            new.passes()


def key_of(token: Secret) -> str:
    return str(decode_unverified(token.reveal())[0]["kid"])
