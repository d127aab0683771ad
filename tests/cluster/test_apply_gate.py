"""The gates on Istio and on Envoy Gateway, applied to a real API server that has their kinds.

No gateway runs; a test plays Envoy Gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest

from daypass.deploy.apply import execute, wait_for_policies, wait_for_publication
from daypass.deploy.objects import ObjectRef
from daypass.deploy.remove import PartialApplyError
from daypass.gate.publication import denials_config_map, gate_namespaces, shard_config_map
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import AUTHORIZATION_POLICIES, CONFIG_MAPS
from daypass.render.names import GATE, GATE_DENIED
from daypass.rules.published import CLUSTER_SHARDS
from daypass.testing import MovableClock
from support.controlplane import ControlPlane
from support.crds import install_envoy_gateway, install_istio
from support.deploying import apply, everything, named, plan, prepare, remove, settle
from support.engines import denials_object, keys_object, shard_object
from support.manifest_cases import ENVOY_GATEWAY, ISTIO
from support.messages import check, raises
from support.publishing import published
from support.rendered import config_of
from support.tokens import ISSUER

pytestmark = pytest.mark.usefixtures("cleared")

POLICY = f"/apis/gateway.envoyproxy.io/v1alpha1/namespaces/infra/securitypolicies/{GATE}"
LISTENED = POLICY.replace("securitypolicies", "clienttrafficpolicies")
SPACE = "istio-system"
Where = tuple[str, str]
DOORS = POLICY.replace(f"infra/securitypolicies/{GATE}", "daypass/securitypolicies/") + (
    "daypass-domain-ekf"
)


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, (install_istio, install_envoy_gateway), SPACE, "infra")


@pytest.mark.parametrize(
    ("config", "made", "absent"),
    [
        (ISTIO, {("EnvoyFilter", SPACE), ("AuthorizationPolicy", SPACE)},
         {("DestinationRule", "daypass")}),
        (ISTIO.replace("audience:", "check: review, audience:"),
         {("DestinationRule", "daypass"), ("Deployment", "daypass")}, set()),
        (ENVOY_GATEWAY,
         {("SecurityPolicy", "infra"), ("ClientTrafficPolicy", "infra"),
          ("BackendTLSPolicy", "daypass"), ("ReferenceGrant", "daypass")}, set()),
    ],
    ids=["istio", "istio with review", "envoy-gateway"],
)  # fmt: skip
def test_it_is_applied_changes_nothing_the_second_time_and_is_removed_whole(
    cluster: Cluster, config: str, made: set[Where], absent: set[Where]
) -> None:
    before = named(everything(cluster))
    apply(cluster, config)
    settle(cluster)
    whole = everything(cluster)
    there = named(whole) - before
    assert made <= {(kind, where) for kind, where, name in there if name == GATE}
    assert not absent & {(kind, where) for kind, where, name in there if name == GATE}
    assert not plan(cluster, config).to_apply
    apply(cluster, config)
    assert everything(cluster) == whole
    remove(cluster)
    left = {each for each in named(everything(cluster)) - before if each[1] != "daypass"}
    assert left <= {("Namespace", "", "daypass")}


def test_a_gate_is_changed_once_all_that_it_reads_is_published(cluster: Cluster) -> None:
    """Neither what has closed, nor what the watch of another version published in another form."""
    apply(cluster, ISTIO)
    changed = ISTIO.replace("audience:", "login: keep, audience:")
    config = config_of(changed)

    def rules() -> object:
        return cluster.get(AUTHORIZATION_POLICIES, GATE, SPACE)["spec"]["rules"]

    def execute_changed() -> None:
        ready = partial(wait_for_publication, Waiter(cluster, 0), config)
        execute(plan(cluster, changed), before_gate=ready)

    before = rules()
    with raises(PartialApplyError, match="0 of 66"):
        execute_changed()
    known, closed = published((), shards=CLUSTER_SHARDS), published(closes_unix=1)
    for number, part in enumerate(known.shards):
        cluster.apply(shard_config_map(number, part, "daypass", room=1))
        cluster.apply(shard_object(config, number, part))
    cluster.apply(denials_config_map(closed.denials, "daypass"))
    cluster.apply(denials_object(config, closed.denials))
    with raises(PartialApplyError, match="64 of 66"):
        execute_changed()
    cluster.apply(denials_config_map(known.denials, "daypass"))
    cluster.apply(keys_object(config, ISSUER, "{}"))
    with raises(PartialApplyError, match="65 of 66"):
        execute_changed()
    assert rules() == before
    cluster.apply(denials_object(config, known.denials))
    execute_changed()
    assert rules() != before


def test_a_namespace_that_is_kept_is_no_gates_any_more(cluster: Cluster) -> None:
    """Its denials are an administrator's. Commands wait for every gate."""
    apply(cluster, ISTIO)
    assert gate_namespaces(cluster) == ["daypass"]
    denied = {"name": GATE_DENIED, "namespace": "daypass"}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": denied})
    try:
        assert [each.action for each in remove(cluster).left] == ["keep"]
        assert gate_namespaces(cluster) == []
    finally:
        cluster.delete(CONFIG_MAPS, GATE_DENIED, "daypass")


def test_without_a_gate_any_more_its_policies_go_and_the_door_stays(cluster: Cluster) -> None:
    apply(cluster, ENVOY_GATEWAY)
    assert ("SecurityPolicy", "daypass", "daypass-domain-ekf") in named(everything(cluster))
    apply(cluster, ENVOY_GATEWAY.partition("gates:")[0])
    there = named(everything(cluster))
    assert not [each for each in there if each[2] == GATE or each[0] == "SecurityPolicy"]
    assert ("HTTPRoute", "daypass", "daypass-domain-ekf") in there


def said(plane: ControlPlane, path: str, **conditions: tuple[str, str]) -> Callable[[], object]:
    """A step of Envoy Gateway's: what it says of a policy."""

    def patch() -> object:
        generation = plane.admin.get(path)["metadata"]["generation"]
        listed = [
            {
                "type": kind, "status": status, "message": message, "reason": kind,
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, (status, message) in conditions.items()
        ]  # fmt: skip
        ancestor = {
            "ancestorRef": {"name": "public"}, "controllerName": "example.com/eg",
            "conditions": listed,
        }  # fmt: skip
        return plane.admin.patch(f"{path}/status", {"status": {"ancestors": [ancestor]}})

    return patch


def waited(plane: ControlPlane, *steps: Callable[[], object]) -> tuple[list[str], list[str]]:
    """What is reported at the end, and on the way; each pause is a step of Envoy Gateway's."""
    clock, left, told = MovableClock(), list(steps), list[str]()

    def sleep(seconds: float) -> None:
        clock.move(seconds)
        if left:
            left.pop(0)()

    access = find_connection_config({}, kubeconfig=str(plane.kubeconfig))
    with closing(Cluster(access, clock=clock, sleep=sleep)) as opened:
        policies = [
            ObjectRef(group="gateway.envoyproxy.io", kind=kind, namespace=where, name=name)
            for kind, where, name in (
                ("SecurityPolicy", "infra", GATE),
                ("ClientTrafficPolicy", "infra", GATE),
                ("SecurityPolicy", "daypass", "daypass-domain-ekf"),
            )
        ]
        problems = wait_for_policies(Waiter(opened, 20, told.append), policies)
    return [each.sentence for each in problems], told


def test_apply_waits_for_policies_and_reports_what_takes_routes_out_of_the_gate_but_the_door(
    plane: ControlPlane, cluster: Cluster
) -> None:
    apply(cluster, ENVOY_GATEWAY)
    said(plane, DOORS, Accepted=("True", ""))()
    with raises(NotReadyError, match=f"SecurityPolicy infra/{GATE}: .*Envoy Gateway"):
        waited(plane)
    words = "This policy is being overridden by other securityPolicies for these routes: [{}]"
    routes = words.format("apps/echo daypass/daypass-domain-ekf")
    conflict = "another ClientTrafficPolicy has already attached to it"
    said(plane, LISTENED, Accepted=("False", conflict))()
    replaced = said(plane, POLICY, Accepted=("True", ""), Overridden=("True", routes))
    problems, told = waited(plane, replaced)
    check(told[0], reason="progress")
    for trouble, values in zip(
        sorted(problems),
        (
            (f"ClientTrafficPolicy infra/{GATE} ", conflict),
            (f"SecurityPolicy infra/{GATE}: ", " apps/echo,", "mergeType: StrategicMerge"),
        ),
        strict=True,
    ):
        assert "daypass-domain-ekf" not in trouble
        check(trouble, *values, reason="trouble")
