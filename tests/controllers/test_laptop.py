"""The service and the gate of docs/tutorials/kind.md on a real istiod and its Envoy.

No Pod runs: the Service of the page is an echo service of this machine, and `gate watch` a process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.local.echo import Echo
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.rules.reasons import MESSAGES, Reason
from support import laptop, raw
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.engines import the_engine
from support.istio_gateway import NAMESPACE, prepare, running_gateway, service_entry
from support.objects import tls_secret
from support.raw import Answer
from support.rendered import config_of, only
from support.watching import Watch, identity_namespace, install

pytestmark = pytest.mark.timeout(600)


def test_the_page_publishes_a_service_and_then_guards_it(tmp_path: Path) -> None:
    public = Authority()
    for name in ("gateway", "watch"):
        (tmp_path / name).mkdir()
    with (
        ControlPlane.start(tmp_path / "plane") as plane,
        admin_cluster(plane) as cluster,
        Echo() as echo,
    ):
        prepare(plane)
        service = service_entry(
            "echo", echo.address.port, "default",
            host="echo.default.svc.cluster.local", number=80, protocol="HTTP",
        )  # fmt: skip
        published = [it for it in laptop.objects("echo.yaml") if "istio.io" in it["apiVersion"]]
        pair = public.server(laptop.HOST)
        for each in (tls_secret("echo-tls", NAMESPACE, pair), service, *published):
            cluster.apply(each)
        with running_gateway(tmp_path / "gateway", plane) as gateway:

            def send(*lines: str, path: str = "/hello") -> Answer:
                request = raw.get(*lines, host=laptop.HOST, path=path)
                return gateway.send(request, name=laptop.HOST, authority_pem=public.pem)

            eventually("everybody may call it", lambda: send().code == 200)

            config = config_of(laptop.config_text("https://kubernetes.default.svc"))
            install(plane, config)
            route = only(render_objects(config, ClusterFacts()), "VirtualService")
            for each in (*the_engine(config).objects(), route):
                cluster.apply(each)
            with Watch(tmp_path / "watch", plane, config) as watch:
                watch.wait_leading()
                identity = plane.make_identity(identity_namespace(plane))

                def call() -> Answer:
                    return send(raw.bearer(plane.make_token(identity, audiences=[laptop.AUDIENCE])))

                eventually("it is guarded", lambda: send().code == 401, seconds=60)
                eventually("its token passes", lambda: call().code == 200, seconds=60)
                assert send().json["message"].startswith(MESSAGES[Reason.NO_TOKEN])
                # The door's route takes precedence over that of the service, and no door is there.
                assert send(path="/kubernetes/api/v1/x").code == 503
                used = raw.bearer(plane.make_token(identity, audiences=[laptop.AUDIENCE]))
                assert send(used).json["headers"]["kubeflow-userid"] == identity.user
                plane.admin.delete(identity.secret_path)
                eventually("it is revoked", lambda: send(used).code == 401)
                assert send(used).json["message"].startswith(MESSAGES[Reason.UNKNOWN_CREDENTIAL])
