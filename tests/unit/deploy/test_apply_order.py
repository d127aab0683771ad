"""The order in which objects are rendered, applied and removed."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from daypass._core.kubernetes.objects import new_object
from daypass.deploy.apply import execute
from daypass.deploy.cluster_state import AppliedObject, ClusterState
from daypass.deploy.objects import ObjectRef
from daypass.deploy.openings import openings
from daypass.deploy.plan import ApplyPlan, ObjectChange
from daypass.deploy.remove import Removal, remove
from daypass.render.names import GATE, GATE_WATCH
from daypass.render.objects import Wave, in_order
from daypass.rules.published import DENIALS
from support.manifest_cases import CASES

OBJECTS = [value for case in CASES.values() for value in case.objects()]


def recording() -> Any:
    """A cluster that notes what is written and deleted."""
    cluster = mock.MagicMock(dry_run=False)
    cluster.find_kind.side_effect = lambda *kind: kind
    return cluster


def written(cluster: Any) -> list[ObjectRef]:
    return [ObjectRef.of(call.args[0]) for call in cluster.apply.call_args_list]


def deleted(cluster: Any) -> list[ObjectRef]:
    return [
        ObjectRef(group=kind[0], kind=kind[1], namespace=namespace or "", name=name)
        for kind, name, namespace in (call.args for call in cluster.delete.call_args_list)
    ]


def plan_of(case: str, cluster: Any) -> ApplyPlan:
    """The plan of the first apply of a case."""
    changes = [
        ObjectChange(document=each, live=None, result=each, action="create")
        for each in CASES[case].objects()
    ]
    return ApplyPlan(
        state=ClusterState(cluster=cluster, namespaces={}, inventories=()),
        config=CASES[case].config,
        folders={},
        changes=tuple(changes),
        removals=(),
        waiting=(),
        missing=(),
        exposed=openings(CASES[case].config, CASES[case].facts),
        widened=(),
        ended=(),
        found=(),
        entries={change.ref: AppliedObject(api_version="v1") for change in changes},
    )


def is_in_waves(refs: list[ObjectRef]) -> bool:
    waves = [ref.wave for ref in refs]
    return bool(waves) and waves == sorted(waves)


def test_apply_writes_one_wave_after_the_other_and_remove_deletes_them_in_reverse() -> None:
    cluster = recording()
    with mock.patch("daypass.deploy.apply.write_inventory"):
        execute(plan_of("gates", cluster))
    applied = written(cluster)
    assert is_in_waves(applied)
    assert len(applied) == len(CASES["gates"].objects())

    remove(cluster, [Removal(ref=ref, action="remove", uid="u") for ref in sorted(applied)])
    assert is_in_waves(deleted(cluster)[::-1])
    assert {*deleted(cluster)} == {*applied}


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_in_the_order_of_apply(case: str) -> None:
    assert is_in_waves([ObjectRef.of(each) for each in CASES[case].objects()])


def test_what_was_published_goes_after_the_watch_has_lost_its_rights() -> None:
    def removal(kind: str, name: str, *, is_published: bool = False) -> Removal:
        ref = ObjectRef.core(kind, "" if kind == "Namespace" else "daypass", name)
        return Removal(ref=ref, action="remove", uid="u", is_published=is_published)

    cluster = recording()
    remove(
        cluster,
        [
            removal("Namespace", "daypass"),
            removal("ConfigMap", DENIALS, is_published=True),
            removal("RoleBinding", GATE_WATCH),
            removal("Deployment", GATE_WATCH),
        ],
    )
    kinds = [ref.kind for ref in deleted(cluster)]
    assert kinds == ["Deployment", "RoleBinding", "ConfigMap", "Namespace"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("Namespace", "daypass"), ("ServiceAccount", "daypass-door")),
        (("Secret", "daypass-door-tls"), ("Deployment", "daypass-door")),
        (("NetworkPolicy", "daypass-door"), ("Deployment", "daypass-door")),
        (("RoleBinding", GATE_WATCH), ("Deployment", GATE_WATCH)),
        # A removal comes to the Certificate first: cert-manager would make its Secret again.
        (("Secret", "daypass-door-tls"), ("Certificate", "daypass-door")),
        (("Deployment", GATE_WATCH), ("Deployment", GATE)),
        (("Deployment", GATE_WATCH), ("EnvoyFilter", GATE)),
        (("Deployment", GATE_WATCH), ("EnvoyFilter", f"{GATE}.serving")),
        (("ClientTrafficPolicy", f"{GATE}.serving"), ("SecurityPolicy", f"{GATE}.serving")),
        (("SecurityPolicy", GATE), ("HTTPRoute", "daypass-any")),
        (("DestinationRule", "daypass-door"), ("VirtualService", "daypass-any")),
        (("Service", "daypass-door"), ("AnyKindThatIsNotKnown", "daypass-any")),
        (("AnyKindThatIsNotKnown", "daypass-door"), ("Ingress", "daypass-domain-any")),
        (("DestinationRule", GATE), ("AnyKindThatIsNotKnown", GATE)),
        (("AnyKindThatIsNotKnown", GATE), ("HTTPRoute", "daypass-any")),
    ],
    ids=lambda it: f"{it[0]} {it[1]}",
)
def test_what_the_other_needs_is_written_before_it(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    one, other = (new_object("v1", kind, name, "n") for kind, name in (first, second))
    assert in_order([other, one]) == [one, other]


def test_what_opens_access_is_written_last() -> None:
    last = {each["kind"] for each in OBJECTS if ObjectRef.of(each).wave == Wave.ROUTES}
    assert last == {"Gateway", "HTTPRoute", "Ingress", "VirtualService"}
