"""What an apply, a diff and `verify` say of others' routes, by a real API server with all kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cluster.conftest import Run
from daypass._core.findings import Level
from daypass.analysis.checks import find_in_cluster
from daypass.identity.accounts import IdentityName, account_objects
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SERVICE_ACCOUNTS
from support.clusters import cluster_as
from support.controlplane import ControlPlane
from support.crds import install_gateway_api, install_istio
from support.deploying import BOTH, GATE, QUICK_APPLY, everything, prepare, settle, write
from support.messages import check, message_with
from support.objects import make
from support.rendered import config_of
from support.watching import HOME, give_role, identity_namespace

pytestmark = pytest.mark.usefixtures("cleared")


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, (install_istio, install_gateway_api), "istio-system")


THEIR_INGRESS = "Ingress default/other"


def assert_taken(message: str) -> None:
    """That a warning names the prefix, the host, and the Ingress that has both."""
    for value in ("/kubernetes on ekf.example.com", THEIR_INGRESS):
        assert value in message


@contextmanager
def somebody_elses_route(plane: ControlPlane) -> Iterator[None]:
    """Somebody has the prefix on a host of the config."""
    ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    service = {"name": "other", "port": {"number": 80}}
    paths = [{"path": "/kubernetes/x", "pathType": "Prefix", "backend": {"service": service}}]
    rules = [{"host": "ekf.example.com", "http": {"paths": paths}}]
    plane.admin.create(ingresses, {"metadata": {"name": "other"}, "spec": {"rules": rules}})
    try:
        yield
    finally:
        plane.admin.delete(f"{ingresses}/other")


def test_apply_and_diff_name_a_route_that_uses_the_prefix_already(
    plane: ControlPlane, run: Run
) -> None:
    with somebody_elses_route(plane):
        warning = message_with(run("apply", "--no-commit", code=2)[1], THEIR_INGRESS)
    assert warning.count(THEIR_INGRESS) == 1
    assert_taken(warning)
    assert "serving.example.com" not in warning
    check(warning, reason="collision")
    assert THEIR_INGRESS not in run(*QUICK_APPLY, "--yes")[1]
    with somebody_elses_route(plane):
        assert message_with(run("diff")[1], THEIR_INGRESS) == warning
    assert THEIR_INGRESS not in run("diff")[1]


def test_a_changed_route_next_to_another_owners_asks_for_confirmation(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    run(*QUICK_APPLY, "--yes")
    with somebody_elses_route(plane):
        assert_taken(message_with(run(*QUICK_APPLY)[1], THEIR_INGRESS))  # nothing of it changes
        write(folder, BOTH.replace("dns: external-dns", "dns: none"))
        settle(cluster)
        before = everything(cluster)
        _, told = run(*QUICK_APPLY, code=2)
        assert_taken(message_with(told, THEIR_INGRESS))
        assert "https://ekf.example.com/kubernetes" not in told  # it opens no more
        check(message_with(told, "daypass apply --yes"), reason="not-confirmed")
        assert everything(cluster) == before
        run(*QUICK_APPLY, "--yes")
    write(folder, BOTH)
    run(*QUICK_APPLY)


THEIR_SERVICE = "VirtualService istio-system/any"


def test_apply_diff_and_verify_warn_of_host_names_that_bypass_the_gate(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    port = {"number": 443, "name": "https", "protocol": "HTTP"}
    servers = [{"port": port, "hosts": ["*"]}]
    http = [{"route": [{"destination": {"host": "dashboard"}}]}]
    gateway = {"selector": {"istio": "ingressgateway"}, "servers": servers}
    service = {"hosts": ["*"], "gateways": ["public"], "http": http}
    objects = (
        make("networking.istio.io/v1", "Gateway", "public", "istio-system", spec=gateway),
        make("networking.istio.io/v1", "VirtualService", "any", "istio-system", spec=service),
    )

    def verified(check: str, *words: str) -> dict[str, str]:
        out, _ = run("verify", "serving", *words, "--output", "json", code=3)
        findings: list[dict[str, str]] = json.loads(out)["domains"]["serving"]
        (found,) = (each for each in findings if each["check"] == check)
        return found

    write(folder, f"{BOTH}{GATE}")
    for each in objects:
        cluster.create(each)
    try:
        message = message_with(run(*QUICK_APPLY, "--dry-run")[1], f"{THEIR_SERVICE} serves")
        check(message, reason="unguarded")
        prefix, _, rest = message.partition(": ")
        told, hint = rest.split("\n")
        assert (prefix, told.count(THEIR_SERVICE)) == ("warning", 1)
        assert "Gateway istio-system/public" in told
        assert "serving.example.com" in told
        assert "gates.default.hosts: ['*']" in hint
        assert told in run("diff", code=3)[1]
        found = verified("gate-hosts", "--kubeconfig", str(plane.kubeconfig))
        assert (found["level"], found["fact"]) == ("warning", told)
        found = verified("cluster")
        assert (found["level"], "--kubeconfig FILE" in found["fact"]) == ("skipped", True)
        write(folder, f"{BOTH}{GATE}".replace("hosts: [", "hosts: ['*', "))
        assert f"{THEIR_SERVICE} serves" not in run(*QUICK_APPLY, "--dry-run")[1]
    finally:
        for kind, name in (("gateways", "public"), ("virtualservices", "any")):
            path = f"/apis/networking.istio.io/v1/namespaces/istio-system/{kind}/{name}"
            plane.admin.delete(path)


def test_namespaces_whose_tokens_a_gate_refuses_are_listed_as_long_as_it_does(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    watched, elsewhere, labelled = (
        identity_namespace(plane, with_role=home is not None, home=home or HOME)
        for home in (HOME, "another-home", None)
    )
    without = plane.make_namespace()
    give_role(plane, without)
    for namespace in (watched, elsewhere, labelled, without):
        cluster.apply(account_objects(IdentityName(namespace=namespace, name="bot"))[0])
    write(folder, f"{BOTH}{GATE}")
    fact = message_with(run(*QUICK_APPLY, "--dry-run")[1], without)
    assert [each in fact for each in (without, labelled, elsewhere, watched)] == [True] * 3 + [
        False
    ]
    assert without in run(*QUICK_APPLY, "--yes")[1]
    assert without in run(*QUICK_APPLY)[1]
    for namespace in (watched, elsewhere, labelled, without):
        cluster.delete(SERVICE_ACCOUNTS, "bot", namespace)
    assert without not in run(*QUICK_APPLY)[1]


def test_routes_that_the_user_may_not_list_are_reported(plane: ControlPlane) -> None:
    identity = plane.make_identity()
    with closing(cluster_as(plane, identity.token)) as limited:
        (finding,) = find_in_cluster(limited, config_of(f"{BOTH}{GATE}"))
    assert "VirtualServices of networking.istio.io" in finding.fact
    check(finding.fact, reason=finding.check)
    assert finding.level is Level.SKIPPED
