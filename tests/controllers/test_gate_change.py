"""`daypass apply` changes a gate in use, while requests pass it: a real API server, `gate watch`,
istiod and its Envoy. The test does what kubelet would do.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster
from daypass.local.echo import Echo
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.istio_gates import GUARDED, route, served, service
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway
from support.kubelet import Kubelet
from support.objects import tls_secret
from support.tokens import AUDIENCE
from support.traffic import Traffic
from support.watching import identity_namespace

pytestmark = pytest.mark.timeout(600)

PULL_SECONDS = 6
"""A gateway that has got the new filters waits less for what they read."""


def config_text(check: str, version: int) -> str:
    """`version`: of the image, and of the rules: the second also lets browsers log in."""
    others = ", login: keep" if version == 2 else ""
    return f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{door: {{host: door.example.com, front: istio, tls: {{secret: public}}}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gates: {{default: {{audience: {AUDIENCE}, hosts: [{GUARDED}], check: {check}{others}}}}}
watch: {{closeAfter: 60s}}
gatePods: {{image: 'registry.example.com/daypass:{version}'}}
"""


@dataclass(slots=True, kw_only=True)
class Env:
    """A cluster with a guarded service, and a gateway before it."""

    folder: Path
    plane: ControlPlane
    cluster: Cluster
    gateway: Gateway
    public: Authority

    def traffic(self, token: Secret) -> Traffic:
        def connect() -> ssl.SSLSocket:
            return self.gateway.connect(name=GUARDED, authority_pem=self.public.pem)

        return Traffic(connect=connect, host=GUARDED, token=token)

    def token(self, namespace: str, name: str) -> tuple[Identity, Secret]:
        """An identity and a short-lived token of it."""
        identity = self.plane.make_identity(namespace, name)
        return identity, self.plane.make_token(identity, audiences=[AUDIENCE])


@contextmanager
def running_env(folder: Path) -> Iterator[Env]:
    (folder / "gateway").mkdir()
    public = Authority()
    with (
        ControlPlane.start(folder / "plane") as plane,
        admin_cluster(plane) as cluster,
        Echo() as echo,
    ):
        prepare(plane)
        for each in (
            tls_secret("public", NAMESPACE, public.server(GUARDED)),
            served(GUARDED),
            route(GUARDED, "echo"),
            service("echo", echo.address.port),
        ):
            cluster.apply(each)
        with running_gateway(folder / "gateway", plane) as gateway:
            yield Env(
                folder=folder, plane=plane, cluster=cluster, gateway=gateway,
                public=public,
            )  # fmt: skip


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_a_change_under_traffic_refuses_no_good_request_and_lets_no_revoked_one_pass(
    tmp_path: Path, check: str
) -> None:
    with running_env(tmp_path) as env, ExitStack() as stack:
        plane = env.plane
        kubelet = Kubelet(
            folder=env.folder, plane=plane, cluster=env.cluster, pull_seconds=PULL_SECONDS
        )
        stack.callback(kubelet.stop)

        kubelet.apply(config_text(check, 1))
        namespace = identity_namespace(plane)
        revoked, revoked_token = env.token(namespace, "revoked")
        late, late_token = env.token(namespace, "late")
        _, kept_token = env.token(namespace, "good")
        good, bad, meanwhile = map(env.traffic, (kept_token, revoked_token, late_token))
        plane.admin.delete(revoked.secret_path)
        for traffic, code in ((good, 200), (bad, 401), (meanwhile, 200)):
            with traffic.flowing():
                eventually("the gate is in force", lambda t=traffic, c=code: t.last == c)  # type: ignore[misc]
            traffic.codes.clear()
        for traffic in (good, bad, meanwhile):
            stack.enter_context(traffic.flowing())
        second = kubelet.start_apply(config_text(check, 2))

        def is_changed() -> bool:
            if plane.admin.find(late.secret_path) is not None and good.codes.total() > 50:
                plane.admin.delete(late.secret_path)
            return kubelet.has_applied(second)

        eventually("the second is applied", is_changed)
        assert second.exit_code() == 0, second.tail(40)
        eventually("what was revoked meanwhile is refused", lambda: meanwhile.last == 401)
        counted = good.codes.total()
        eventually("more has passed", lambda: good.codes.total() > counted + 100)
        assert good.codes.keys() == {200}, good.codes
        assert bad.codes.keys() == {401}, bad.codes
