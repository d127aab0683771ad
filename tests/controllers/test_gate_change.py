"""`daypass apply` changes a gate in use, while requests pass it: a real API server, `gate watch`,
istiod and its Envoy. The test does what kubelet would do.
"""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from support.deadline import eventually
from support.istio_gates import GUARDED, Ingress, running_ingress
from support.kubelet import Kubelet
from support.tokens import AUDIENCE
from support.traffic import Traffic
from support.watching import identity_namespace

pytestmark = pytest.mark.timeout(600)

PULL_SECONDS = 6
"""A gateway that has got the new filters waits less for what they read."""


def config_text(version: int) -> str:
    """`version`: of the image, and of the rules: the second also lets browsers log in."""
    others = ", login: keep" if version == 2 else ""
    return f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{door: {{host: door.example.com, front: istio, tls: {{secret: public}}}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gates: {{default: {{audience: {AUDIENCE}, hosts: [{GUARDED}], check: review{others}}}}}
watch: {{closeAfter: 60s}}
gatePods: {{image: 'registry.example.com/daypass:{version}'}}
"""


def traffic(ingress: Ingress, token: Secret) -> Traffic:
    def connect() -> ssl.SSLSocket:
        return ingress.gateway.connect(name=GUARDED, authority_pem=ingress.public.pem)

    return Traffic(connect=connect, host=GUARDED, token=token)


def test_a_change_under_traffic_refuses_no_good_request_and_lets_no_revoked_one_pass(
    tmp_path: Path,
) -> None:
    with running_ingress(tmp_path, GUARDED) as ingress, ExitStack() as stack:
        plane = ingress.plane
        kubelet = Kubelet(
            folder=tmp_path, plane=plane, cluster=ingress.cluster, pull_seconds=PULL_SECONDS
        )
        stack.callback(kubelet.stop)

        kubelet.apply(config_text(1))
        namespace = identity_namespace(plane)
        kept, revoked, late = (plane.make_identity(namespace, name) for name in ("a", "b", "c"))
        good, bad, meanwhile = (
            traffic(ingress, plane.make_token(each, audiences=[AUDIENCE]))
            for each in (kept, revoked, late)
        )
        plane.admin.delete(revoked.secret_path)
        for each, code in ((good, 200), (bad, 401), (meanwhile, 200)):
            with each.flowing():
                eventually("the gate is in force", lambda t=each, c=code: t.last == c)  # type: ignore[misc]
            each.codes.clear()
        for each in (good, bad, meanwhile):
            stack.enter_context(each.flowing())
        second = kubelet.start_apply(config_text(2))

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
