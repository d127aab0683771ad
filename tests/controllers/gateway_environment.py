"""A Gateway of Envoy Gateway that is guarded by the rendered gate, with services behind it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import gate_objects, render_objects
from daypass.render.names import GATE, GATE_TRUST
from daypass.rules.reasons import REASON_HEADER, Reason
from support import raw
from support.authority import Authority
from support.clusters import account_token, apply, write_kubeconfig
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import post
from support.envoy_gateway import (
    conditions,
    delete,
    endpoints,
    find,
    gateway,
    listener,
    namespace,
    route,
    service,
)
from support.gate_differences import seen
from support.identities import Identity
from support.objects import config_map, tls_secret
from support.ports import free_ports
from support.raw import Answer, connect, exchange
from support.rendered import config_of, only
from support.serving import Served, gate_serve_over_tls
from support.tokens import AUDIENCE, ISSUER

HOST, OTHER = "ekf.example.com", "other.example.com"
INFRA, APPS, DOORS = "guarded", "apps", "edge"
"""Namespaces: of the Gateway, of the services, and of door and authorizer."""

PUBLIC = Authority()
FACTS = ClusterFacts(issuer=ISSUER)


def config_text(gate: str, *, on: str = f"{INFRA}/public", watch: str = "") -> str:
    """A daypass.yaml with a door and a gate on one Gateway. `gate`, `watch`: their keys; `on`: what
    the gate guards of the Gateway.
    """
    return f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains:
  ekf: {{host: {HOST}, front: gateway-api, gateway: {INFRA}/public, tls: outside}}
door: {{namespace: {DOORS}}}
limits: {{requestsPerSecond: 10000, perSourcePerSecond: 10000}}
gates:
  default: {{audience: {AUDIENCE}, engine: envoy-gateway, gateway: {on}, cacheTtl: 1s, {gate}}}
watch: {{{watch}}}
gatePods: {{image: "registry.example.com/daypass:1"}}
"""


def config(gate: str = "check: review", *, on: str = f"{INFRA}/public") -> Config:
    """The same, read."""
    return config_of(config_text(gate, on=on))


def gate(kind: str, of: Config | None = None) -> Object:
    return only(gate_objects(of or config(), FACTS), kind, GATE)


def policies(of: Config) -> list[Object]:
    found = gate_objects(of, FACTS)
    return [each for each in found if each["apiVersion"].startswith("gateway.envoyproxy.io/")]


@dataclass(slots=True, kw_only=True)
class GatewayEnv:
    plane: ControlPlane
    folder: Path
    authority: Authority
    identity: Identity
    port: int
    plain_port: int
    usual: Served | None = None

    def send(self, *headers: str, path: str = "/pipeline", host: str = HOST) -> Answer:
        return self.exchange(post(path, host=host, method="GET", headers=headers, body=b""), host)

    def exchange(self, request: bytes, host: str = HOST) -> Answer:
        """The answer at a listener for every host; HOST and OTHER are in its certificate."""
        name = host if host == OTHER else HOST
        with connect(self.port, authority_pem=PUBLIC.pem, name=name) as connection:
            return exchange(connection, request)

    def bearer(self, **shape: Any) -> str:
        token = self.plane.make_token(self.identity, **{"audiences": [AUDIENCE], **shape})
        return raw.bearer(token)

    @contextmanager
    def authorizer(
        self,
        gate: str = "check: review",
        *,
        authority: Authority | None = None,
        shown: str = "",
        is_watched: bool = False,
        text: str = "",
    ) -> Iterator[Served]:
        """An authorizer of this gate, where the rendered policies look for it, and no other.

        `authority`, `shown`: who signed its certificate, and for what name, instead of its own.
        `is_watched`: it follows what the watch publishes, with the rights rendered for it.
        `text`: a whole config, in place of one with the gate.
        """
        pair = (authority or self.authority).server(shown or f"{GATE}.{DOORS}.svc")
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        kubeconfig, more = self.plane.kubeconfig, ["--without-watch"]
        if is_watched:
            kubeconfig, more = folder / "kubeconfig", []
            write_kubeconfig(self.plane, account_token(self.plane, DOORS, GATE), kubeconfig)
        text = text or config_text(gate)
        try:
            with gate_serve_over_tls(
                folder, text, pair, "--kubeconfig", str(kubeconfig), *more
            ) as running:
                apply(self.plane, endpoints(GATE, DOORS, running.port))
                yield running
        finally:
            if self.usual is not None:
                apply(self.plane, endpoints(GATE, DOORS, self.usual.port))
                self.wait()

    def wait(self) -> None:
        def as_it_should_be() -> bool:
            """It is the gate that answers, and no policy that a test has added."""
            headers, refused = seen(self.send(self.bearer())), self.send()
            return headers.get("kubeflow-userid") == self.identity.user and (
                refused.code,
                refused.headers.get(REASON_HEADER),
            ) == (401, Reason.NO_TOKEN)

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
        assert before is not None
        # As it was applied: without what is the API server's, and others'.
        before = {**before, **{key: document[key] for key in ("apiVersion", "kind", "metadata")}}
        before.pop("status", None)
        apply(self.plane, document)
        try:
            yield
        finally:
            apply(self.plane, before)
            self.wait()

    @contextmanager
    def without(self, document: Object) -> Iterator[None]:
        delete(self.plane, document)
        try:
            yield
        finally:
            apply(self.plane, document)
            self.wait()

    @contextmanager
    def added(self, document: Object) -> Iterator[Object]:
        apply(self.plane, document)
        try:
            yield document
        finally:
            delete(self.plane, document)
            self.wait()

    def condition(self, document: Object, kind: str) -> tuple[str, str]:
        """Status and message of a condition of an object; empty where there is none."""
        return conditions(self.plane, document).get(kind, ("", ""))


@contextmanager
def running_gateway_env(folder: Path, plane: ControlPlane, echo_port: int) -> Iterator[GatewayEnv]:
    """The rendered gate on a Gateway; after Envoy Gateway was started on the cluster."""
    port, plain_port = free_ports(2)
    env = GatewayEnv(
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
        config_map(GATE_TRUST, DOORS, {"ca.crt": env.authority.pem}),
        service("echo", APPS, 80),
        endpoints("echo", APPS, echo_port),
        tls_secret("public", INFRA, PUBLIC.server(HOST, OTHER)),
        gateway(
            "public", INFRA, listener("https", port, secret="public"), listener("http", plain_port)
        ),
        route("echo", APPS, gateway=f"{INFRA}/public", host=HOST, service="echo"),
    )
    with env.authorizer() as usual:
        env.wait()
        env.usual = usual
        yield env
        env.usual = None
