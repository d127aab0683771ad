"""What an apply would do, by dry runs of the API server; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, TypeAlias

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding
from daypass._core.kubernetes.labels import HOLDS_INVENTORY, is_ours
from daypass._core.kubernetes.objects import Object, name_of, new_object
from daypass._core.text import printable
from daypass._core.threads import in_parallel
from daypass.analysis.checks import find_in_cluster
from daypass.analysis.gateways import COLLISIONS, NOT_APPLIED, ROUTE_KINDS
from daypass.config import Config
from daypass.deploy.cluster_state import AppliedObject, ClusterState
from daypass.deploy.objects import ObjectRef, comparable, is_applied, managed_fields, object_diff
from daypass.deploy.openings import (
    REFUSES,
    Openings,
    ended,
    openings,
    require_same_names,
    widened,
)
from daypass.deploy.prerequisites import ProvidedPrerequisites, provide_prerequisites
from daypass.deploy.remove import Removal, find_removals, is_applied_object, published_refs
from daypass.kube.errors import ApiError, ConflictError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import Folders, objects_of
from daypass.render.names import DOOR_PAIR
from daypass.render.objects import in_order
from daypass.render.prerequisites import Prerequisite, prerequisites


class OwnershipConflictError(DaypassError):
    """Another manager owns fields with other values."""


class RejectedObjectsError(DaypassError):
    """The API server refuses objects; nothing was applied."""


def _conflicts(ref: ObjectRef, error: ConflictError) -> tuple[str, ...]:
    """Return a line for each field; the API server quotes the name of its manager."""
    details = error.status.document.get("details") or {}
    return tuple(
        f"{ref}: {printable(str(cause.get('field')))} is"
        f" {printable(str(cause.get('message'))).removeprefix('conflict with ')}'s"
        for cause in details.get("causes") or ()
        if cause.get("reason") == "FieldManagerConflict"
    ) or (f"{ref}: {error.status.message}",)


ChangeAction: TypeAlias = Literal["create", "change", "take over", "same"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """An object to apply. `live`: as it is, None if it does not exist; `result`: as it would be.

    Actions: `take over` changes only the owner of fields; `same` needs no request. `owners`: a line
    for each field that another manager has set otherwise; `result` takes it over.
    """

    document: Object
    live: Object | None
    result: Object
    action: ChangeAction
    owners: tuple[str, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef.of(self.document)

    def diff(self) -> str:
        return object_diff(self.ref, self.live, self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPlan:
    """What an apply would do. `changes` and `removals` are in the order in which they are made.

    `folders`: what is rendered. `entries`: the inventory after it, without the UIDs of new objects.

    `exposed`: what is open after it; `widened`: what of that is not open now; `ended`: what works
    no longer after it. `found`: what is wrong now, in the cluster as it is.
    """

    state: ClusterState
    config: Config
    folders: Folders
    changes: tuple[ObjectChange, ...]
    removals: tuple[Removal, ...]
    waiting: tuple[Prerequisite, ...]
    missing: tuple[Prerequisite, ...]
    exposed: Openings
    widened: tuple[str, ...]
    ended: tuple[Finding, ...]
    found: tuple[Finding, ...]
    entries: Mapping[ObjectRef, AppliedObject]

    @property
    def namespace(self) -> str:
        """The door's namespace."""
        return self.config.door.namespace

    @property
    def pair(self) -> ObjectRef:
        """The Secret of the door's certificate."""
        return ObjectRef.core("Secret", self.namespace, DOOR_PAIR)

    @property
    def to_apply(self) -> list[ObjectChange]:
        """The changes that need a request."""
        return [change for change in self.changes if change.action != "same"]

    @property
    def needs_confirmation(self) -> bool:
        """Whether it needs confirmation: it opens more, a gate refuses what passed before, or it
        adds a route that collides with others. Routes that have not changed need none.
        """
        routes = [c for c in self.changes if (c.ref.group, c.ref.kind) in ROUTE_KINDS]
        is_new = any(change.action in ("create", "change") for change in routes)
        refuses = any(finding.check == REFUSES for finding in self.ended)
        collides = any(each.check == COLLISIONS for each in self.found)
        return bool(self.widened or refuses or (collides and is_new))

    @property
    def findings(self) -> list[Finding]:
        """What to know before it is applied; nothing of it prevents that."""
        return [*self.ended, *(each for each in self.found if each.check != NOT_APPLIED)]

    def verify_unowned(self) -> None:
        """Raise OwnershipConflictError if another manager has set a field otherwise."""
        owners = [line for change in self.changes for line in change.owners]
        if owners:
            raise OwnershipConflictError(
                "other managers own fields with other values: nothing was applied",
                "\n".join([*owners, "leave it to them, or take it over: --force-conflicts"]),
            )

    @property
    def differing(self) -> list[ObjectChange | Removal]:
        """What differs from the config, apart from the owners of fields."""
        changes = [each for each in self.changes if each.action in ("create", "change")]
        return [*changes, *(each for each in self.removals if each.action in ("remove", "release"))]


def make_plan(
    state: ClusterState, config: Config, facts: ClusterFacts, folders: Folders
) -> ApplyPlan:
    """Compare a config, and what is rendered from it with these facts, with a cluster.

    Raises MissingError for missing kinds and namespaces; RenamedGateError; RejectedObjectsError,
    with all errors at once, for missing permissions and whatever else the API server refuses.
    """
    require_same_names(state.exposed, config)
    cluster, namespace = state.cluster, config.door.namespace
    provided = provide_prerequisites(cluster, prerequisites(config), namespace)
    documents = in_order([*_documents(config, objects_of(folders)), *provided.objects])
    state.require(documents)
    changes = _changes(state, documents)
    entries = _entries(state, changes, provided)
    before, after = state.exposed, openings(config, facts)
    removals = find_removals(cluster, state.entries, {*entries, *published_refs(config)})
    return ApplyPlan(
        state=state,
        config=config,
        folders=folders,
        changes=tuple(changes),
        removals=tuple(removals),
        waiting=tuple(provided.waiting),
        missing=tuple(provided.missing),
        exposed=after,
        widened=tuple(widened(before, after)),
        ended=tuple(ended(before, after)),
        found=tuple(find_in_cluster(cluster, config)),
        entries=entries,
    )


def _documents(config: Config, rendered: Sequence[Object]) -> list[Object]:
    """Return the rendered objects; the door's namespace always, for the inventory."""
    documents = [deepcopy(each) if each["kind"] == "Namespace" else each for each in rendered]
    name = config.door.namespace
    if not any(d["kind"] == "Namespace" for d in documents):
        documents.append(new_object("v1", "Namespace", name))
    for document in documents:
        if document["kind"] == "Namespace":
            document["metadata"]["labels"].update(HOLDS_INVENTORY)
    return documents


def _changes(state: ClusterState, documents: Sequence[Object]) -> list[ObjectChange]:
    def compare(document: Object) -> ObjectChange | ApiError:
        try:
            return _compared(state, document)
        except ApiError as error:
            return error

    compared = in_parallel(compare, documents)
    errors = [found for found in compared if isinstance(found, ApiError)]
    if errors:
        (fact, hint), *rest = dict.fromkeys((error.fact, error.hint) for error in errors)
        lines = [hint, *(line for pair in rest for line in pair), "nothing was applied"]
        raise RejectedObjectsError(fact, "\n".join(line for line in lines if line))
    return [found for found in compared if isinstance(found, ObjectChange)]


def _compared(state: ClusterState, document: Object) -> ObjectChange:
    namespace = document["metadata"].get("namespace")
    if namespace and namespace not in state.namespaces:
        return ObjectChange(document=document, live=None, result=document, action="create")
    live = state.cluster.find(state.cluster.resource(document), name_of(document), namespace)
    if live is not None and is_applied(document, live):
        return ObjectChange(document=document, live=live, result=live, action="same")
    owners: tuple[str, ...] = ()
    try:
        result = state.cluster.apply(document, dry_run=True, strict=True)
    except ConflictError as error:
        owners = _conflicts(ObjectRef.of(document), error)
        result = state.cluster.apply(document, dry_run=True, force=True, strict=True)
    return ObjectChange(
        document=document, live=live, result=result, action=_action(live, result), owners=owners
    )


def _action(live: Object | None, result: Object) -> ChangeAction:
    if live is None:
        return "create"
    if comparable(live) != comparable(result):
        return "change"
    return "same" if managed_fields(live) == managed_fields(result) else "take over"


def _entries(
    state: ClusterState, changes: Sequence[ObjectChange], provided: ProvidedPrerequisites
) -> dict[ObjectRef, AppliedObject]:
    entries: dict[ObjectRef, AppliedObject] = {}
    for change in changes:
        ref, document = change.ref, change.document
        entries[ref] = _entry(state, ref, document["apiVersion"], change.live)
        if document["kind"] == "Certificate":
            secret_name = document["spec"]["secretName"]
            made = ObjectRef.core("Secret", ref.namespace, secret_name)
            entries[made] = AppliedObject(api_version="v1", certificate=ref.name)
    for ref, live in provided.kept.items():
        if ref in state.entries or is_ours(live):
            entries[ref] = _entry(state, ref, "v1", live)
    for need in provided.waiting:
        ref = ObjectRef.core(need.kind, need.namespace, need.name)
        if ref in state.entries:
            entries[ref] = state.entries[ref]
    return entries


def _entry(
    state: ClusterState, ref: ObjectRef, api_version: str, live: Object | None
) -> AppliedObject:
    """Return the entry of an object: its UID, and whether it existed before daypass."""
    if live is None:
        return AppliedObject(api_version=api_version)
    known = state.entries.get(ref)
    if known is not None and is_applied_object(known, live):
        taken_over = known.taken_over
    else:
        taken_over = not is_ours(live)
    return AppliedObject(
        api_version=api_version, uid=live["metadata"]["uid"], taken_over=taken_over
    )
