"""Everything that was applied, removed again, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass.deploy.apply import ApplyResult, PartialApplyError, remove
from daypass.deploy.cluster_state import ClusterState
from daypass.deploy.deploy_target import DeployTarget
from daypass.deploy.inventory import NAME, write_inventory
from daypass.deploy.removals import Removal, find_removals
from daypass.deploy.rollout import Deadline, Say
from daypass.kube.resources import CONFIG_MAPS, ENVOY_FILTERS
from daypass.render.istio.filters import revoked_names
from daypass.render.objects import GATE, GATE_KEYS


def find_all(state: ClusterState) -> list[Removal]:
    """What a removal would do, in order."""
    return find_removals(state.target, state.entries)


def remove_all(state: ClusterState, removals: Sequence[Removal]) -> ApplyResult:
    """Do it; the inventory goes last, or stays with the namespaces that stay.

    Raises HalfDoneError where it ends on its way; the same again goes on from there.
    """
    # With the label of a namespace that outlives us its inventory would be out of sight.
    last = [r for r in removals if r.fate == "release" and r.identifier.kind == "Namespace"]
    try:
        done = remove(state.target, [removal for removal in removals if removal not in last])
        _remove_published(state.target, removals)
        for inventory in state.inventories:
            kept = {
                name: inventory.entries[name] for name in done.kept if name in inventory.entries
            }
            if kept:
                write_inventory(state.target.cluster, inventory, kept, None)
            else:
                state.target.cluster.delete(
                    CONFIG_MAPS, NAME, inventory.namespace, uid=inventory.uid
                )
        released = remove(state.target, last)
    except DaypassError as error:
        raise PartialApplyError(
            error.fact, f"{error.hint}\n`{command('remove')}` goes on from there"
        ) from error
    return replace(done, removed=done.removed + released.removed)


def _remove_published(target: DeployTarget, removals: Sequence[Removal]) -> None:
    """What the gate's watch has put beside the gateway's filters, which are gone now."""
    for removal in removals:
        identifier = removal.identifier
        if removal.fate == "remove" and (identifier.kind, identifier.name) == ("EnvoyFilter", GATE):
            for name in (GATE_KEYS, *revoked_names()):
                target.cluster.delete(ENVOY_FILTERS, name, identifier.namespace)


def wait_until_gone(
    target: DeployTarget,
    removals: Sequence[Removal],
    done: ApplyResult,
    patience: Deadline,
    say: Say,
) -> None:
    """Wait until all that was removed is gone: some objects take their time, namespaces above all.

    Raises NotReadyError.
    """
    left = {removal.identifier for removal in done.left}
    for removal in removals:
        if removal.fate == "remove" and removal.identifier not in left:
            patience.wait(lambda: _gone(target, removal), say, _hint(removal))  # noqa: B023 - now


def _gone(target: DeployTarget, removal: Removal) -> str | None:
    live = target.find_metadata(removal.identifier)
    if live is None or live["metadata"]["uid"] != removal.uid:
        return None
    finalizers = ", ".join(live["metadata"].get("finalizers") or ())
    return f"{removal.identifier} is going" + (f" ({finalizers})" if finalizers else "")


def _hint(removal: Removal) -> str:
    identifier = removal.identifier
    where = ("-n", identifier.namespace) if identifier.namespace else ()
    return kubectl("describe", identifier.kind.lower(), identifier.name, *where)
