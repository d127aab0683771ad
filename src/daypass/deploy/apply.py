"""Apply a plan. Any request may fail: applying again continues from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass.deploy.inventory import NAME, AppliedObject, Inventory, write_inventory
from daypass.deploy.object_ref import LAST_WAVE, ObjectRef, in_parallel
from daypass.deploy.plan import ApplyPlan, ObjectChange
from daypass.deploy.remove import ApplyResult, PartialApplyError, remove
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, Object


def execute(cluster: Cluster, plan: ApplyPlan, *, force: bool = False) -> ApplyResult:
    """Apply what a plan contains, then remove what is no longer wanted.

    The inventory is written twice: before, with all that may come to exist, so that nothing is
    applied that is not in it; and after, with UIDs, and without what was removed.
    Raises PartialApplyError if it fails halfway.
    """
    waves: list[list[ObjectChange]] = [[] for _ in range(LAST_WAVE + 1)]
    for change in plan.to_apply:
        waves[change.identifier.wave].append(change)
    total, applied = len(plan.to_apply), dict[ObjectRef, Object]()
    try:
        current = next((i for i in plan.inventories if i.namespace == plan.namespace), None)
        if any(change.verdict == "create" for change in waves[0]):
            _apply(cluster, waves[0], applied, force=force)  # the inventory needs its namespace
            waves[0] = []
        known = {k: v for one in reversed(plan.inventories) for k, v in one.entries.items()}
        current = write_inventory(
            cluster,
            current or Inventory(namespace=plan.namespace),
            {**known, **plan.entries},
            plan.exposed,
        )
        for wave in waves:
            _apply(cluster, wave, applied, force=force)
        done = remove(cluster, plan.removals)
        entries = {name: known[name] for name in done.kept} | _with_uids(plan.entries, applied)
        write_inventory(cluster, current, entries, plan.exposed)
        for old in plan.inventories:
            if old.namespace != plan.namespace:
                cluster.delete(CONFIG_MAPS, NAME, old.namespace, uid=old.uid)
    except DaypassError as error:
        raise PartialApplyError(
            error.fact,
            f"{error.hint}\n{len(applied)} of {total} objects applied: "
            f"`{command('apply')}` goes on there",
        ) from error
    return replace(done, applied=total)


def _apply(
    cluster: Cluster,
    changes: list[ObjectChange],
    applied: dict[ObjectRef, Object],
    *,
    force: bool,
) -> None:
    def one(change: ObjectChange) -> None:
        # An older version of a kind could drop the very fields that protect: `strict`.
        applied[change.identifier] = cluster.apply(change.document, force=force, strict=True)

    in_parallel(one, changes)


def _with_uids(
    entries: Mapping[ObjectRef, AppliedObject], applied: Mapping[ObjectRef, Object]
) -> dict[ObjectRef, AppliedObject]:
    return {
        ref: replace(entry, uid=str(applied[ref]["metadata"]["uid"])) if ref in applied else entry
        for ref, entry in entries.items()
    }
