"""What `verify --kubeconfig` and `status` find over the life of a gate next to Kubeflow's login."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.conftest import Run
from daypass._core.kubernetes import labels
from daypass.config.domain import GATEWAY_LABELS
from daypass.identity.accounts import IdentityName
from daypass.identity.credentials_file import CredentialsSettings
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deploying import QUICK_APPLY, prepare, write
from support.istio_gateway import add_pod
from support.istio_logins import documented
from support.lifecycle import make
from support.objects import make as object_of

pytestmark = pytest.mark.usefixtures("cleared")

HOST, NEW, AUDIENCE = "kf.example.com", "new.example.com", "gate.example.com"
CONFIG = f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
  kubeflow: {{host: {HOST}, front: istio, gateway: kubeflow/kubeflow-gateway, tls: outside}}
policy: {{audiences: [{AUDIENCE}]}}
gates: {{default: {{audience: {AUDIENCE}, login: keep, hosts: [{HOST}]}}}}
gatePods: {{image: 'r.example.com/daypass:1'}}
"""
REASONS = {
    *("not-applied", "gateway-host", "login"),
    *("identity-door", "identity-audience", "refused"),
}
LOGIN = documented("istio-ingressgateway-oauth2-proxy")
PAST = documented("door-without-login", "ingresses/istio")


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, (install_istio,), "istio-system", "kubeflow")


def gateway(host: str) -> dict[str, object]:
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": [host],
        "tls": {"mode": "SIMPLE", "credentialName": "kubeflow-tls"},
    }  # fmt: skip
    spec = {"selector": GATEWAY_LABELS, "servers": [server]}
    return object_of("networking.istio.io/v1", "Gateway", "kubeflow-gateway", "kubeflow", spec=spec)


def test_the_life_of_a_gate_is_followed(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    def found() -> set[str]:
        """The reasons of both commands, which agree."""
        out, _ = run("verify", "--kubeconfig", str(plane.kubeconfig), "-o", "json", code=3)
        told = json.loads(out)["domains"]["kubeflow"]
        verified = {each["check"] for each in told if each["level"] != "ok"}
        seen = {e["check"] for e in json.loads(run("status", "-o", "json", code=3)[0])["findings"]}
        assert verified & REASONS == seen & REASONS or seen == {"not-applied"} < verified
        return seen

    write(folder, CONFIG)
    cluster.apply(gateway(HOST))
    add_pod(plane, "istio-system", "ingress-1", GATEWAY_LABELS | {"app": "istio-ingressgateway"})
    assert found() == {"not-applied"}

    run(*QUICK_APPLY, "--yes")
    bot = IdentityName(namespace=plane.make_namespace(), name="bot")
    settings = CredentialsSettings(
        door=f"https://{HOST}/kubernetes", audience=AUDIENCE, lifetime_seconds=3600
    )
    make(cluster, bot, credentials=settings, watcher_namespace="daypass")
    assert found() & REASONS == set()

    bare = {**LOGIN, "spec": {**LOGIN["spec"], "rules": [{}]}}
    cluster.apply(bare)
    assert found() & REASONS == {"login"}
    cluster.apply(PAST)
    told = run(*QUICK_APPLY)[1]
    assert "AuthorizationPolicy istio-system/istio-ingressgateway-oauth2-proxy" in told
    cluster.apply(LOGIN)
    assert found() & REASONS == set()

    write(folder, CONFIG.replace(HOST, NEW))
    assert found() >= {"gateway-host", "identity-door", "drift"}
    cluster.apply(gateway(NEW))
    run(*QUICK_APPLY, "--yes")
    assert found() & REASONS == {"identity-door"}
    moved = replace(settings, door=f"https://{NEW}/kubernetes")
    make(cluster, bot, credentials=moved, watcher_namespace="daypass")
    assert found() & REASONS == set()
    make(cluster, bot, credentials=settings, watcher_namespace="daypass")
    cluster.apply(gateway(HOST))

    write(folder, CONFIG.replace(AUDIENCE, "new-audience"))
    run(*QUICK_APPLY, "--yes")
    assert found() & REASONS == {"identity-audience"}

    write(folder, CONFIG)
    run(*QUICK_APPLY, "--yes")
    lost = {"metadata": {"labels": {labels.POLICY: None}}}
    cluster.patch(NAMESPACES, bot.namespace, lost)
    assert found() & REASONS == {"refused"}
    assert bot.namespace in run(*QUICK_APPLY)[1]

    run("remove", "--yes", "--no-wait")
    assert found() == {"not-applied"}
