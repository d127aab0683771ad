"""The order in which objects are rendered, applied and removed."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.kubernetes.objects import Object, new_object
from daypass.deploy.apply import execute
from daypass.deploy.cluster_state import INVENTORY, AppliedObject, ClusterState
from daypass.deploy.objects import ObjectRef
from daypass.deploy.openings import openings
from daypass.deploy.plan import ApplyPlan, ObjectChange
from daypass.deploy.remove import Removal, remove
from daypass.render.names import GATE, GATE_WATCH
from daypass.render.objects import Wave, in_order
from daypass.rules.published import DENIALS
from support.manifest_cases import CASES

OBJECTS = [value for case in CASES.values() for value in case.objects()]


class Writes:
    """A cluster that records the references of what is written and deleted."""

    dry_run = False

    def __init__(self) -> None:
        self.refs: list[ObjectRef] = []

    def apply(self, document: Object, **options: object) -> Object:
        del options
        self.refs.append(ObjectRef.of(document))
        return {**document, "metadata": {**document["metadata"], "uid": "u"}}

    def create(self, document: Object) -> Object:
        made = self.apply(document)
        made["metadata"]["resourceVersion"] = "1"
        return made

    def patch(self, resource: object, name: str, change: Object, namespace: str) -> Object:
        del resource
        made = new_object("v1", "ConfigMap", name, namespace, data=change["data"])
        return self.create({**made, "metadata": {**made["metadata"], **change["metadata"]}})

    def find_kind(self, group: str, kind: str) -> tuple[str, str]:
        return group, kind

    def delete(self, found: tuple[str, str], name: str, namespace: str | None, *, uid: str) -> bool:
        del uid
        group, kind = found
        ref = ObjectRef(group=group, kind=kind, namespace=namespace or "", name=name)
        self.refs.append(ref)
        return True

    def list(self, *args: object, **options: object) -> list[Object]:
        del args, options
        return []

    def kinds(self) -> Any:
        class Nothing:
            deletable = ()

        return Nothing


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
    waves = [ref.wave for ref in refs if ref.name != INVENTORY]
    return bool(waves) and waves == sorted(waves)


@pytest.mark.parametrize("case", CASES)
def test_apply_writes_one_wave_after_the_other_and_remove_deletes_them_in_reverse(
    case: str,
) -> None:
    written: Any = Writes()
    execute(plan_of(case, written))
    assert is_in_waves(written.refs)

    deleted: Any = Writes()
    removals = [Removal(ref=ref, action="remove", uid="u") for ref in sorted({*written.refs})]
    remove(deleted, removals)
    assert is_in_waves(deleted.refs[::-1])
    assert {*deleted.refs} == {*written.refs}


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_in_the_order_of_apply(case: str) -> None:
    assert is_in_waves([ObjectRef.of(each) for each in CASES[case].objects()])


def test_what_was_published_goes_after_the_watch_has_lost_its_rights() -> None:
    def removal(kind: str, name: str, *, is_published: bool = False) -> Removal:
        ref = ObjectRef.core(kind, "" if kind == "Namespace" else "daypass", name)
        return Removal(ref=ref, action="remove", uid="u", is_published=is_published)

    cluster: Any = Writes()
    remove(
        cluster,
        [
            removal("Namespace", "daypass"),
            removal("ConfigMap", DENIALS, is_published=True),
            removal("RoleBinding", GATE_WATCH),
            removal("Deployment", GATE_WATCH),
        ],
    )
    kinds = [ref.kind for ref in cluster.refs]
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
