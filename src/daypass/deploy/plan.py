"""What an apply would do: asked of the cluster by dry runs, and nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from daypass.deploy.brought import Brought, bring
from daypass.deploy.collisions import KINDS, collisions
from daypass.deploy.difference import shown, unified
from daypass.deploy.exposed import Exposure, exposure, widenings
from daypass.deploy.identifier import Identifier
from daypass.deploy.inventory import HOLDS_ONE, Entry, Inventory
from daypass.deploy.listed import list_all
from daypass.deploy.owned import is_applied, owned
from daypass.deploy.removals import Removal, find_removals, is_the_one
from daypass.deploy.state import State
from daypass.deploy.target import each
from daypass.deploy.troubles import OwnedError, owners_of, raise_troubles
from daypass.deploy.unguarded import Unguarded, find_unguarded, kinds_of
from daypass.kube.errors import ApiError, ConflictError
from daypass.kube.resources import Object
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR_PAIR
from daypass.render.needs import Need, needs
from daypass.render.objects import LABELS, new_object
from daypass.spec import Config

Verdict: TypeAlias = Literal["create", "change", "own", "same"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An object to be applied. `live`: as it is, None if it is not there; `result`: as it would be.

    Verdicts: `own` changes no field, but who owns them. `same` takes no request. `owners`: a line
    for each field that somebody else has set otherwise, and `result` takes over.
    """

    document: Object
    live: Object | None
    result: Object
    verdict: Verdict
    owners: tuple[str, ...] = ()

    @property
    def identifier(self) -> Identifier:
        """Which object."""
        return Identifier.of(self.document)

    def diff(self) -> str:
        """What would change, as a unified diff."""
        return unified(self.identifier, self.live, self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An apply that has not been done. `entries`: the inventory as it will be, without new UIDs.

    `collisions`: routes of others that have the prefix; `unguarded`: what leads past the gate;
    `unseen`: what may not be looked at for these two, in words.
    """

    namespace: str
    changes: tuple[Change, ...]
    removals: tuple[Removal, ...]
    waiting: tuple[Need, ...]
    missing: tuple[Need, ...]
    widened: tuple[str, ...]
    collisions: tuple[str, ...]
    unguarded: Unguarded
    unseen: tuple[str, ...]
    exposed: Exposure
    entries: Mapping[Identifier, Entry]
    inventories: tuple[Inventory, ...]

    @property
    def pair(self) -> Identifier:
        """The Secret of the door's certificate."""
        return Identifier(group="", kind="Secret", namespace=self.namespace, name=DOOR_PAIR)

    @property
    def to_apply(self) -> list[Change]:
        """The changes that take a request."""
        return [change for change in self.changes if change.verdict != "same"]

    @property
    def takes_yes(self) -> bool:
        """Whether somebody has to confirm it: it opens more, or puts a route where others have one.

        What has been there is not asked about again.
        """
        routes = [c for c in self.changes if (c.identifier.group, c.identifier.kind) in KINDS]
        is_new = any(change.verdict in ("create", "change") for change in routes)
        return bool(self.widened or (self.collisions and is_new))

    def verify_unowned(self) -> None:
        """Raise OwnedError where somebody else has set what this would set otherwise."""
        owners = [line for change in self.changes for line in change.owners]
        if owners:
            raise OwnedError(owners)

    @property
    def differs(self) -> bool:
        """Whether the cluster is not what the config says. Who owns its fields does not count."""
        return any(change.verdict in ("create", "change") for change in self.changes) or any(
            removal.fate in ("remove", "release") for removal in self.removals
        )


def make_plan(state: State, config: Config) -> Plan:
    """Compare a config with a cluster.

    Raises, with all of it at once: kinds and namespaces that are missing, rights that are missing,
    and whatever else the API server would refuse.
    """
    target, namespace = state.target, config.door.namespace
    documents = _documents(state, config)
    brought = bring(target, needs(config), namespace)
    documents += brought.objects
    state.require(documents)
    changes = _changes(state, documents)
    entries = _entries(state, changes, brought)
    removals = find_removals(target, state.entries, entries)
    exposed = exposure(config)
    listed = list_all(target, dict.fromkeys([*KINDS, *kinds_of(config.gate)]))
    return Plan(
        namespace=namespace,
        changes=tuple(changes),
        removals=tuple(removals),
        waiting=tuple(brought.waiting),
        missing=tuple(brought.missing),
        widened=tuple(widenings(state.exposed, exposed)),
        collisions=tuple(collisions(listed, config)),
        unguarded=find_unguarded(target.cluster, listed, config),
        unseen=listed.unseen,
        exposed=exposed,
        entries=entries,
        inventories=state.inventories,
    )


def _documents(state: State, config: Config) -> list[Object]:
    """Everything rendered; the door's namespace is there even if no door is, for the inventory."""
    documents = render_objects(config, state.facts(config))
    name = config.door.namespace
    if not any(d["kind"] == "Namespace" for d in documents):
        documents = [new_object("v1", "Namespace", name), *documents]
    for document in documents:
        if document["kind"] == "Namespace":
            document["metadata"]["labels"].update(HOLDS_ONE)
    return documents


def _changes(state: State, documents: Sequence[Object]) -> list[Change]:
    def compare(document: Object) -> Change | ApiError:
        try:
            return _compared(state, document)
        except ApiError as error:
            return error

    compared = each(compare, documents)
    raise_troubles([found for found in compared if isinstance(found, ApiError)])
    return [found for found in compared if isinstance(found, Change)]


def _compared(state: State, document: Object) -> Change:
    namespace = document["metadata"].get("namespace")
    if namespace and namespace not in state.namespaces:
        return Change(document=document, live=None, result=document, verdict="create")
    live = state.target.find_as(document)
    if live is not None and is_applied(document, live):
        return Change(document=document, live=live, result=live, verdict="same")
    owners: tuple[str, ...] = ()
    try:
        result = state.target.apply(document, dry_run=True)
    except ConflictError as error:
        owners = owners_of(Identifier.of(document), error)
        result = state.target.apply(document, dry_run=True, force=True)
    return Change(
        document=document, live=live, result=result, verdict=_verdict(live, result), owners=owners
    )


def _verdict(live: Object | None, result: Object) -> Verdict:
    if live is None:
        return "create"
    if shown(live) != shown(result):
        return "change"
    return "same" if owned(live) == owned(result) else "own"


def _entries(state: State, changes: Sequence[Change], brought: Brought) -> dict[Identifier, Entry]:
    entries: dict[Identifier, Entry] = {}
    for change in changes:
        identifier, document = change.identifier, change.document
        entries[identifier] = _entry(state, identifier, document["apiVersion"], change.live)
        if document["kind"] == "Certificate":
            made = Identifier(
                group="",
                kind="Secret",
                namespace=identifier.namespace,
                name=document["spec"]["secretName"],
            )
            entries[made] = Entry(api_version="v1", certificate=identifier.name)
    for identifier, live in brought.kept.items():
        if identifier in state.entries or _is_labelled(live):
            entries[identifier] = _entry(state, identifier, "v1", live)
    for need in brought.waiting:
        identifier = Identifier(group="", kind=need.kind, namespace=need.namespace, name=need.name)
        if identifier in state.entries:
            entries[identifier] = state.entries[identifier]
    return entries


def _entry(state: State, identifier: Identifier, api_version: str, live: Object | None) -> Entry:
    """What to note of an object: its UID where it is there, and whether it was before us."""
    if live is None:
        return Entry(api_version=api_version)
    known = state.entries.get(identifier)
    if known is not None and is_the_one(known, live):
        taken_over = known.taken_over
    else:
        taken_over = not _is_labelled(live)
    return Entry(api_version=api_version, uid=live["metadata"]["uid"], taken_over=taken_over)


def _is_labelled(live: Object) -> bool:
    labels = live["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in LABELS.items())
