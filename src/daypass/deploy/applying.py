"""A plan carried out. It may end at any request: the same apply again goes on from there.

The inventory is written twice where something comes or goes: before, with all that may come to be,
so that nothing is ever applied that is not in it; and after, with UIDs, and without what has gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass.deploy.identifier import LAST_WAVE, Identifier
from daypass.deploy.inventory import NAME, Entry, Inventory, write_inventory
from daypass.deploy.plan import Change, Plan
from daypass.deploy.removals import Removal, looked_into
from daypass.deploy.target import Target, each
from daypass.kube.resources import CONFIG_MAPS, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it. `left`: in the end not removed, as planned or as was found meanwhile."""

    applied: int = 0
    removed: int = 0
    left: tuple[Removal, ...] = ()

    @property
    def kept(self) -> list[Identifier]:
        """What is still ours, to be removed another time."""
        return [removal.identifier for removal in self.left if removal.fate == "keep"]


class HalfDoneError(DaypassError):
    """An apply or a removal that ended on its way."""


def carry_out(target: Target, plan: Plan, *, force: bool = False) -> Done:
    """Apply, then remove what is no longer wanted. HalfDoneError where it ends on its way."""
    waves: list[list[Change]] = [[] for _ in range(LAST_WAVE + 1)]
    for change in plan.to_apply:
        waves[change.identifier.wave].append(change)
    total, applied = len(plan.to_apply), dict[Identifier, Object]()
    try:
        home = next((i for i in plan.inventories if i.namespace == plan.namespace), None)
        if any(change.verdict == "create" for change in waves[0]):
            _apply(target, waves[0], applied, force=force)  # there is no place for it before that
            waves[0] = []
        kept = {k: v for one in reversed(plan.inventories) for k, v in one.entries.items()}
        home = write_inventory(
            target.cluster,
            home or Inventory(namespace=plan.namespace),
            {**kept, **plan.entries},
            plan.exposed,
        )
        for wave in waves:
            _apply(target, wave, applied, force=force)
        done = remove(target, plan.removals)
        noted = {**{name: kept[name] for name in done.kept}, **_noted(plan.entries, applied)}
        write_inventory(target.cluster, home, noted, plan.exposed)
        for old in plan.inventories:
            if old.namespace != plan.namespace:
                target.cluster.delete(CONFIG_MAPS, NAME, old.namespace, uid=old.uid)
    except DaypassError as error:
        raise HalfDoneError(
            error.fact,
            f"{error.hint}\n{len(applied)} of {total} objects applied: "
            f"`{command('apply')}` goes on there",
        ) from error
    return replace(done, applied=total)


def remove(target: Target, removals: Iterable[Removal]) -> Done:
    """Remove in waves, the last applied first. A namespace only if nobody has anything in it."""
    namespaces: list[Removal] = []
    others: list[Removal] = []
    left: list[Removal] = []
    for removal in removals:
        if removal.fate in ("keep", "leave"):
            left.append(removal)
        else:
            (namespaces if removal.identifier.kind == "Namespace" else others).append(removal)
    for step in _in_steps(others):
        each(lambda removal: _remove(target, removal), step)
    for removal in namespaces:
        now = looked_into(target, removal, ()) if removal.fate == "remove" else removal
        if now.fate == "keep":
            left.append(now)
        else:
            _remove(target, now)
            others.append(now)
    return Done(removed=len(others), left=tuple(left))


def _in_steps(removals: list[Removal]) -> Iterable[list[Removal]]:
    """What may go at once: a wave, and in it certificates before the rest."""
    steps: dict[tuple[int, bool], list[Removal]] = {}
    for removal in removals:
        key = removal.identifier.wave, removal.identifier.kind == "Certificate"
        steps.setdefault(key, []).append(removal)
    return [steps[key] for key in sorted(steps, reverse=True)]


def _remove(target: Target, removal: Removal) -> None:
    if removal.fate == "release":
        _release(target, removal)
        return
    target.delete(removal.identifier, removal.uid)


def _release(target: Target, removal: Removal) -> None:
    """Apply nothing: the fields that nobody but us has set are gone, the object stays."""
    identifier = removal.identifier
    resource = target.kinds.find(identifier.group, identifier.kind)
    if resource is None:
        return
    metadata: Object = {"name": identifier.name, "uid": removal.uid}
    if identifier.namespace:
        metadata["namespace"] = identifier.namespace
    nothing = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    target.apply(nothing)


def _apply(
    target: Target, changes: list[Change], applied: dict[Identifier, Object], *, force: bool
) -> None:
    def one(change: Change) -> None:
        applied[change.identifier] = target.apply(change.document, force=force)

    each(one, changes)


def _noted(
    entries: Mapping[Identifier, Entry], applied: Mapping[Identifier, Object]
) -> dict[Identifier, Entry]:
    return {
        identifier: replace(entry, uid=str(applied[identifier]["metadata"]["uid"]))
        if identifier in applied
        else entry
        for identifier, entry in entries.items()
    }
