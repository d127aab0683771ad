"""`daypass status` of a real API server: what is installed, wrong, and not known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cluster.conftest import Run
from cluster.restricted_users import kubeconfig_with
from daypass._core.clock import SYSTEM_CLOCK, time_in
from daypass._core.findings import Level
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import GroupKind
from daypass.deploy.certificate_authority import Authority
from daypass.gate.publication import closing_time
from daypass.identity.accounts import IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.connection import Authenticator, ConnectionConfig
from daypass.kube.resources import CONFIG_MAPS, DEPLOYMENTS, SECRETS
from daypass.render.names import DOOR, GATE_WATCH
from daypass.rules.published import NAMES
from daypass.status.reading import read_cluster
from support import admin_shell
from support.clusters import admin_access
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deadline import eventually
from support.deploying import apply, prepare, write
from support.istio_gateway import add_pod
from support.lifecycle import make
from support.objects import secret
from support.rendered import config_of
from support.timing import FakeClock
from support.watching import Watch

CONFIG = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
policy: {audiences: [gate.example.com]}
gates: {default: {audience: gate.example.com, hosts: [serving.example.com]}}
gatePods: {image: 'r.example.com/daypass:1'}
"""
GATEWAY = {"istio": "ingressgateway"}
DAY = 86_400


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, (install_istio,), "istio-system")


Looked = dict[str, Any]


def look(run: Run, *words: str, code: int = 0) -> Looked:
    found: Looked = json.loads(run("status", "-o", "json", *words, code=code)[0])
    return found


def checks(found: Looked, level: str = "failure") -> list[str]:
    """The checks with findings of a level, but what other tests' identities have."""
    found_ones = {each["check"] for each in found["findings"] if each["level"] == level}
    of_identities = {"deadline", "unused", "identity-door", "identity-audience"}
    return sorted(found_ones - of_identities)


def component(found: Looked, name: str) -> Looked:
    (one,) = (each for each in found["components"] if each["name"] == name)
    return dict(one)


def certificate(cluster: Cluster, namespace: str, name: str, days: int) -> None:
    """A Secret with a certificate that expires after so many days."""
    issued = Authority.create("tests", SYSTEM_CLOCK).issue(
        [f"{name}.example.com"], SYSTEM_CLOCK, lifetime=timedelta(days=days, hours=1)
    )
    files = {"tls.crt": issued[0].decode(), "tls.key": issued[1].decode()}
    cluster.apply(secret(name, namespace, files, type="kubernetes.io/tls"), force=True)


def is_rolled_out(cluster: Cluster, name: str) -> None:
    """What a kubelet and a controller report of a Deployment whose Pods are ready."""
    replicas = cluster.get(DEPLOYMENTS, name, "daypass")["spec"].get("replicas", 1)
    status = {"status": {"replicas": replicas, "readyReplicas": replicas}}
    path = DEPLOYMENTS.path("daypass", name, "status")
    body = {**status, "apiVersion": "apps/v1", "kind": "Deployment"}
    cluster.request("PATCH", path, body, what="report", content_type="application/merge-patch+json")


@pytest.fixture(scope="module")
def healthy(
    plane: ControlPlane, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """Door and watch are ready, the watch publishes, and the gateway's Pod is there."""
    apply(cluster, CONFIG)
    certificate(cluster, "daypass", "ekf-tls", 71)
    certificate(cluster, "istio-system", "serving-tls", 71)
    with ExitStack() as running:
        folder = tmp_path_factory.mktemp("watch")
        running.enter_context(Watch(folder, plane, config_of(CONFIG)))
        query = partial(cluster.list, CONFIG_MAPS, "daypass", labels=f"{PUBLISHED}=true")

        def is_open() -> bool:
            ends = [closing_time(each) for each in query()]
            return len(ends) == len(NAMES) and min(ends) > SYSTEM_CLOCK.unix()

        eventually("the gate is open", is_open)
        for name in (DOOR, GATE_WATCH):
            is_rolled_out(cluster, name)
        add_pod(plane, "istio-system", "ingress-1", GATEWAY)
        yield plane


@pytest.fixture
def run(
    healthy: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:  # fmt: skip
    """Run a command in a folder with the config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(healthy.kubeconfig))
    write(tmp_path, CONFIG)
    return partial(admin_shell.run, capsys)


def test_what_differs_from_the_config_is_found(run: Run, cluster: Cluster) -> None:
    other = GroupKind("policy", "PodDisruptionBudget")
    resource = cluster.find_kind(other.group, other.kind)
    assert resource is not None
    cluster.delete(resource, DOOR, "daypass")
    try:
        found = look(run, code=3)
        assert (found["drift"], checks(found)) == (
            [f"PodDisruptionBudget daypass/{DOOR}"], ["drift"],
        )  # fmt: skip
    finally:
        apply(cluster, CONFIG)


def test_a_gate_that_is_not_there_is_found(run: Run) -> None:
    write(Path(), CONFIG.replace("default: {", "default: {check: review, "))
    found = look(run, code=3)
    assert {"drift", "replicas"} <= {*checks(found)}
    assert component(found, "authorizer")["ready"] is None


def test_a_healthy_cluster_has_no_finding(run: Run) -> None:
    found = look(run)
    assert (checks(found), checks(found, "warning"), checks(found, "skipped")) == ([], [], [])
    assert [each["days"] for each in found["domains"]] == [71, 71]
    ready = {each["name"]: (each["ready"], each["wanted"]) for each in found["components"]}
    assert ready == {"door": (1, 1), "watch": (2, 2), "gate default": (1, 1)}
    assert 0 < found["published"]["closes"] <= 600


def test_half_of_the_rights_show_half_of_the_screen_and_name_the_other_rules(
    run: Run, healthy: ControlPlane, tmp_path: Path
) -> None:
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}
    file = kubeconfig_with(healthy, tmp_path, [("daypass", [rule])])
    found = look(run, "--kubeconfig", str(file))
    assert (checks(found), checks(found, "skipped")) == ([], ["drift", "rights"])
    assert (component(found, "door")["ready"], found["identities"]) == (1, None)
    hints = "\n".join(each["hint"] for each in found["findings"])
    for resource in ("pods", "secrets", "configmaps", "leases", "serviceaccounts"):
        assert f'resources: ["{resource}"]' in hints


def test_identities_are_found_that_expire_are_overdue_or_unused(
    run: Run, healthy: ControlPlane, cluster: Cluster
) -> None:
    namespace = healthy.make_namespace()
    names = {name: IdentityName(namespace=namespace, name=name) for name in ("soon", "over", "old")}
    clock = cluster.clock
    make(cluster, names["soon"], deadline=time_in(clock, 3 * DAY))
    make(cluster, names["over"], deadline="2020-01-01T00:00:00Z")
    made = make(cluster, names["old"])
    label = {"metadata": {"labels": {"kubernetes.io/legacy-token-last-used": "2026-01-01"}}}
    cluster.patch(SECRETS, made.secret.name, label, namespace)
    found = look(run, code=3)
    identities = found["identities"]
    day = time_in(clock, 3 * DAY)[:10]
    assert f"{namespace}/soon ({day})" in identities["expiring"]
    assert f"{namespace}/over" in identities["overdue"]
    assert f"{namespace}/old" in identities["unused"]
    levels = {each["check"]: each["level"] for each in found["findings"]}
    assert levels.items() >= {"unused": "warning", "deadline": "warning"}.items()


class Timeless(httpx2.BaseTransport):
    """Passes requests on, and hides the time of the API server."""

    def __init__(self, access: ConnectionConfig) -> None:
        self._inner = Authenticator(access).transport(httpx2.HTTPTransport, 16)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._inner.handle_request(request)
        del response.headers["Date"]
        return response

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(("later_seconds", "check"), [(30, ""), (540, "closing"), (700, "closed")])
def test_a_watch_that_has_stopped_is_found_before_the_gate_closes(
    healthy: ControlPlane, later_seconds: int, check: str
) -> None:
    """A clock ahead sees what all see so much later, if nothing is published any more."""
    clock, access = FakeClock(SYSTEM_CLOCK.unix() + later_seconds), admin_access(healthy)
    with closing(Cluster(access, clock=clock, transport=Timeless(access))) as later:
        found = read_cluster(later, config_of(CONFIG))
    assert found.published is not None
    assert found.published.leader == ""
    failures = {each.check for each in found.findings if each.level is Level.FAILURE}
    assert failures - {"deadline"} == {"watch", *filter(None, [check])}
