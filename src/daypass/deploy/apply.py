"""Apply a plan, and wait until it works: certificates, rollouts, the gate's policies, removals.

Objects are written in the waves of `render.objects`: namespaces; what pods need; certificates;
what routes lead to; the gate; routes. The inventory is written after the first, and once more after
the removals, which come last. What the gate publishes is written by its watch alone.

Any request may fail: applying again continues from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, failure
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.threads import in_parallel
from daypass.config import Config
from daypass.deploy.cluster_state import INVENTORY, AppliedObject, write_inventory
from daypass.deploy.objects import ObjectRef, find_object
from daypass.deploy.plan import ApplyPlan, ObjectChange
from daypass.deploy.remove import ApplyResult, PartialApplyError, Removal, published_refs, remove
from daypass.gate.publication import UnreadableShardError, closing_time, read_object
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.kube.resources import CONFIG_MAPS
from daypass.render.engines import engines_of
from daypass.render.engines.engine import AnyEngine
from daypass.render.engines.envoy_gateway import (
    POLICY_GROUP,
    is_accepted,
    overriding_policies,
    rejection_reason,
)
from daypass.render.names import GATE_KEYS, GATE_WATCH
from daypass.render.objects import Wave
from daypass.rules.published import CLUSTER_SHARDS, Published

"""Istio's gateway closes connections that have old filters after 45 s, unless `drainDuration` is
longer; the rest is for istiod, which delivers new ones."""
_GATE_POLICIES = "gate-policies"


def execute(
    plan: ApplyPlan,
    *,
    force: bool = False,
    before_gate: Callable[[], object] = lambda: None,
) -> ApplyResult:
    """Apply what a plan contains, then remove what is no longer wanted.

    `before_gate`: called before an existing gate is changed.

    The inventory is written twice: before, with all that may come to exist, so that nothing is
    applied that is not in it; and after, with UIDs, and without what was removed.
    Raises PartialApplyError if it fails halfway.
    """
    waves = {wave: [c for c in plan.to_apply if c.ref.wave == wave] for wave in Wave}
    total, applied = len(plan.to_apply), dict[ObjectRef, Object]()
    cluster, known = plan.state.cluster, plan.state.entries
    try:
        current = plan.state.inventory_of(plan.namespace)
        if any(change.action == "create" for change in waves[Wave.NAMESPACES]):
            # The inventory needs its namespace.
            _apply(cluster, waves.pop(Wave.NAMESPACES), applied, force=force)
        everything = {**known, **plan.entries}
        current = write_inventory(cluster, current, everything, plan.exposed)
        for wave, changes in waves.items():
            # A new gate may be closed for a while: nothing has passed it before.
            if wave == Wave.GATE and any(change.live for change in changes):
                before_gate()
            _apply(cluster, changes, applied, force=force)
        done = remove(cluster, plan.removals)
        entries = {name: known[name] for name in done.kept} | _with_uids(plan.entries, applied)
        write_inventory(cluster, current, entries, plan.exposed)
        for old in plan.state.inventories:
            if old.namespace != plan.namespace:
                cluster.delete(CONFIG_MAPS, INVENTORY, old.namespace, uid=old.uid)
    except DaypassError as error:
        raise PartialApplyError(
            error.fact,
            f"{error.hint}\n{len(applied)} of {total} objects applied: "
            f"`{command('apply')}` continues from there",
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
        applied[change.ref] = cluster.apply(change.document, force=force, strict=True)

    in_parallel(one, changes)


def _with_uids(
    entries: Mapping[ObjectRef, AppliedObject], applied: Mapping[ObjectRef, Object]
) -> dict[ObjectRef, AppliedObject]:
    return {
        ref: replace(entry, uid=str(applied[ref]["metadata"]["uid"])) if ref in applied else entry
        for ref, entry in entries.items()
    }


def wait_for_publication(waiter: Waiter, config: Config) -> None:
    """Wait until the watch has published everything in the form that this version's gate reads.

    Raises NotReadyError.
    """
    gate_namespace, engines = config.door.namespace, engines_of(config)
    wanted = {ref.name for ref in published_refs(config)}
    there = set[str]()  # what is renewed between two requests is not lost again

    def check() -> str | None:
        there.update(_published(waiter.cluster, gate_namespace, engines))
        if not (lacking := wanted - there):
            return None
        gates = sorted({gate for name in lacking if (gate := name.partition(".")[2])})
        count = f"it has published {len(wanted & there)} of {len(wanted)} objects"
        return f"{count}: the gate {', '.join(gates)} lacks some" if gates else count

    hint = kubectl("logs", f"deployment/{GATE_WATCH}", "-n", gate_namespace)
    waiter.wait(f"the gate's watch in {gate_namespace}", check, hint)


def _published(
    cluster: Cluster, gate_namespace: str, engines: Sequence[AnyEngine]
) -> Iterator[str]:
    """Yield the names of what is published and open. A ConfigMap and a gateway's object may have
    the same name: then both are.
    """
    specs = dict[str, Mapping[str, Any]]()
    for engine in engines:
        if (query := engine.published_as) is not None:
            kind = cluster.find_kind(query.group, query.kind)
            listed = [] if kind is None else cluster.list(kind, engine.gate.gateway_namespace)
            specs[engine.name] = {name_of(each): each.get("spec") for each in listed}
            # They are never published without keys.
            yield from {engine.named(GATE_KEYS)} & specs[engine.name].keys()
    for document in cluster.list(CONFIG_MAPS, gate_namespace, labels=f"{PUBLISHED}=true"):
        name = name_of(document)
        with suppress(UnreadableShardError):
            if closing_time(document) <= cluster.clock.unix():
                continue
            # The watch of another version may have published it for the authorizer alone.
            published = read_object(document, Published.closed(CLUSTER_SHARDS))
            are_there = {
                name_of(each): specs[engine.name].get(name_of(each)) == each["spec"]
                for engine in engines
                if engine.name in specs
                for each in [engine.published_object(name, published)]
            }
            yield from (each for each, is_there in ({name: True} | are_there).items() if is_there)


def wait_for_certificate(waiter: Waiter, secret: ObjectRef) -> None:
    """Wait until cert-manager has made the door's certificate. Raises NotReadyError."""

    def check() -> str | None:
        there = find_object(waiter.cluster, secret, metadata_only=True)
        return None if there else "cert-manager has not made it yet"

    hint = kubectl("describe", "certificates", "-n", secret.namespace)
    waiter.wait(str(secret), check, hint)


def wait_for_rollout(waiter: Waiter, deployment: ObjectRef) -> int:
    """Wait until all replicas are of the newest version and available, as kubectl does.

    Returns their number. Raises NotReadyError, at once if Kubernetes has given up.
    """
    where = ("-n", deployment.namespace)
    described = kubectl("describe", "deployment", deployment.name, *where)
    hint = f"{kubectl('get', 'pods', *where)}; {described}"

    def check() -> int | str:
        document = find_object(waiter.cluster, deployment)
        if document is None:
            raise NotReadyError(f"{deployment} is gone", f"`{command('apply')}` creates it again")
        status = document.get("status") or {}
        if status.get("observedGeneration", 0) < document["metadata"].get("generation", 0):
            return "no controller has seen it yet"
        for condition in status.get("conditions") or ():
            if condition.get("reason") == "ProgressDeadlineExceeded":
                raise NotReadyError(f"{deployment}: {condition.get('message', '')}", hint)
        replicas = int(document["spec"].get("replicas", 1))
        return _lacking(status, replicas) or replicas

    return waiter.wait(str(deployment), check, hint)


def _lacking(status: Mapping[str, int], wanted: int) -> str:
    """Return what a rollout lacks, empty if it is complete.

    As `kubectl rollout status` (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go).
    """
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} replicas are new"
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} old replicas are leaving"
    return f"{available} of {wanted} ready" if available < updated else ""


def _wait_for_policy(waiter: Waiter, policy: ObjectRef) -> Object:
    def check() -> Object | str:
        document = find_object(waiter.cluster, policy) or {}
        if reason := rejection_reason(document):
            return reason
        return document if is_accepted(document) else "Envoy Gateway has not seen it yet"

    hint = kubectl("describe", policy.kind.lower(), policy.name, "-n", policy.namespace)
    return waiter.wait(str(policy), check, hint)


def wait_for_policies(waiter: Waiter, applied: Iterable[ObjectRef]) -> list[Finding]:
    """Wait until Envoy Gateway accepts each SecurityPolicy; return what is wrong.

    Policies of other kinds are reported if they are not accepted. Raises NotReadyError: until a
    SecurityPolicy is accepted, the gate checks nothing.
    """
    policies = sorted(ref for ref in applied if ref.group == POLICY_GROUP)
    own = {policy.where for policy in policies}
    problems = []
    for policy in policies:
        if policy.kind == "SecurityPolicy":
            document = _wait_for_policy(waiter, policy)
            if others := [name for name in overriding_policies(document) if name not in own]:
                fact = f"{policy}: other policies replace it for {', '.join(others)}"
                problems.append(
                    failure(
                        _GATE_POLICIES,
                        f"{fact}, where the gate checks nothing",
                        "set mergeType: StrategicMerge in them",
                    )
                )
        elif reason := rejection_reason(find_object(waiter.cluster, policy) or {}):
            problems.append(failure(_GATE_POLICIES, f"{policy} is not in force: {reason}"))
    return problems


def wait_until_gone(waiter: Waiter, removals: Sequence[Removal], done: ApplyResult) -> None:
    """Wait until all that was removed is gone: finalizers take time. Raises NotReadyError."""
    left = {removal.ref for removal in done.left}
    for removal in removals:
        ref = removal.ref
        if removal.action == "remove" and ref not in left:
            where = ("-n", ref.namespace) if ref.namespace else ()
            hint = kubectl("describe", ref.kind.lower(), ref.name, *where)
            what = f"the deletion of {ref}"
            waiter.wait(what, partial(_gone, waiter.cluster, removal), hint)


def _gone(cluster: Cluster, removal: Removal) -> str | None:
    live = find_object(cluster, removal.ref, metadata_only=True)
    if live is None or live["metadata"]["uid"] != removal.uid:
        return None
    finalizers = ", ".join(live["metadata"].get("finalizers") or ())
    return f"it has the finalizers {finalizers}" if finalizers else "it is still there"


def verify_published(waiter: Waiter, config: Config) -> dict[str, list[Finding]]:
    """Return what `daypass verify` finds about each domain; failures are retried for a while."""
    from daypass.verification.checks import targets_of
    from daypass.verification.verify import Verifier  # needless with --no-wait

    verifier = Verifier(wait_seconds=waiter.left(), waiting=waiter.show)
    targets = targets_of(config, None, None)
    return verifier.verify(target for target in targets if not target.is_local)
