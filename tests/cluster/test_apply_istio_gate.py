"""The gate on Istio, applied to a real API server that has Istio's kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daypass.kube.cluster import Cluster
from daypass.kube.resources import AUTHORIZATION_POLICIES
from daypass.render.objects import GATE, GATE_PAIR, GATE_TRUST
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deploying import apply, cleared, everything, named, plan, prepared_plane, remove
from support.manifest_cases import ISTIO

REVIEWED = ISTIO.replace("audience:", "check: review, audience:")
SPACE = "istio-system"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster of its own."""
    folder = tmp_path_factory.mktemp("istio-gate-plane")
    with prepared_plane(folder, [install_istio], SPACE) as running:
        yield running


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """The plane for an admin; what was applied there is removed afterwards."""
    with cleared(plane) as opened:
        yield opened


def test_it_is_applied_changes_nothing_the_second_time_and_is_removed_whole(
    cluster: Cluster,
) -> None:
    before = named(everything(cluster))
    apply(cluster, ISTIO)
    there = named(everything(cluster)) - before
    assert {("EnvoyFilter", SPACE, GATE), ("AuthorizationPolicy", SPACE, GATE)} <= there
    assert not any(kind == "DestinationRule" and name == GATE for kind, _, name in there)
    assert not plan(cluster, ISTIO).to_apply
    remove(cluster)
    assert not {each for each in named(everything(cluster)) if each[1] == SPACE} - before


def test_the_gateway_gets_what_it_trusts_the_authorizer_by(cluster: Cluster) -> None:
    apply(cluster, REVIEWED)
    there = named(everything(cluster))
    assert {
        ("DestinationRule", "daypass", GATE),
        ("Secret", "daypass", GATE_PAIR),
        ("Secret", SPACE, GATE_TRUST),
        ("Deployment", "daypass", GATE),
    } <= there
    assert not plan(cluster, REVIEWED).differs


def test_a_login_narrows_the_backstop_to_tokens_of_the_cluster(cluster: Cluster) -> None:
    apply(cluster, ISTIO)
    apply(cluster, ISTIO.replace("audience:", "others: login, audience:"))
    assert ("EnvoyFilter", SPACE, GATE) in named(everything(cluster))
    rules = cluster.get(AUTHORIZATION_POLICIES, GATE, SPACE)["spec"]["rules"]
    assert [rule["when"][1]["key"] for rule in rules] == [
        "request.headers[kubeflow-userid]",
        "request.auth.claims[iss]",
    ]
