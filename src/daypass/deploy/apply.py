"""A plan carried out. It may end at any request: the same apply again goes on from there.

The inventory is written twice where something comes or goes: before, with all that may come to be,
so that nothing is ever applied that is not in it; and after, with UIDs, and without what has gone.

Whether what was applied does what it should, seen from outside, and by the cluster's routes.

Whether Envoy Gateway has taken up the policies of the gate, and what others take out of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass._core.text import printable
from daypass.config import Config
from daypass.deploy.deploy_target import LAST_WAVE, DeployTarget, ObjectRef, each
from daypass.deploy.gate_bypass import find_gate_bypass, kinds_of
from daypass.deploy.inventory import NAME, AppliedObject, Inventory, write_inventory
from daypass.deploy.plan import ApplyPlan, ObjectChange
from daypass.deploy.removals import Removal, looked_into
from daypass.deploy.rollout import Deadline, Say
from daypass.deploy.routes import list_all
from daypass.deploy.served_kinds import discover_kinds
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, Object
from daypass.verification.report import Finding, Level, ok, skipped, warning
from daypass.verification.target import targets_of
from daypass.verification.verify import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What came of it. `left`: in the end not removed, as planned or as was found meanwhile."""

    applied: int = 0
    removed: int = 0
    left: tuple[Removal, ...] = ()

    @property
    def kept(self) -> list[ObjectRef]:
        """What is still ours, to be removed another time."""
        return [removal.identifier for removal in self.left if removal.fate == "keep"]


class PartialApplyError(DaypassError):
    """An apply or a removal that ended on its way."""


def execute(target: DeployTarget, plan: ApplyPlan, *, force: bool = False) -> ApplyResult:
    """Apply, then remove what is no longer wanted. HalfDoneError where it ends on its way."""
    waves: list[list[ObjectChange]] = [[] for _ in range(LAST_WAVE + 1)]
    for change in plan.to_apply:
        waves[change.identifier.wave].append(change)
    total, applied = len(plan.to_apply), dict[ObjectRef, Object]()
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
        raise PartialApplyError(
            error.fact,
            f"{error.hint}\n{len(applied)} of {total} objects applied: "
            f"`{command('apply')}` goes on there",
        ) from error
    return replace(done, applied=total)


def remove(target: DeployTarget, removals: Iterable[Removal]) -> ApplyResult:
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
    return ApplyResult(removed=len(others), left=tuple(left))


def _in_steps(removals: list[Removal]) -> Iterable[list[Removal]]:
    """What may go at once: a wave, and in it certificates before the rest."""
    steps: dict[tuple[int, bool], list[Removal]] = {}
    for removal in removals:
        key = removal.identifier.wave, removal.identifier.kind == "Certificate"
        steps.setdefault(key, []).append(removal)
    return [steps[key] for key in sorted(steps, reverse=True)]


def _remove(target: DeployTarget, removal: Removal) -> None:
    if removal.fate == "release":
        _release(target, removal)
        return
    target.delete(removal.identifier, removal.uid)


def _release(target: DeployTarget, removal: Removal) -> None:
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
    target: DeployTarget,
    changes: list[ObjectChange],
    applied: dict[ObjectRef, Object],
    *,
    force: bool,
) -> None:
    def one(change: ObjectChange) -> None:
        applied[change.identifier] = target.apply(change.document, force=force)

    each(one, changes)


def _noted(
    entries: Mapping[ObjectRef, AppliedObject], applied: Mapping[ObjectRef, Object]
) -> dict[ObjectRef, AppliedObject]:
    return {
        identifier: replace(entry, uid=str(applied[identifier]["metadata"]["uid"]))
        if identifier in applied
        else entry
        for identifier, entry in entries.items()
    }


Findings = dict[str, list[Finding]]
GATE_HOSTS = "gate-hosts"
_QUESTION = "whether other names lead past the gate"


def verify_published(config: Config, patience: Deadline, say: Say) -> Findings:
    """What `daypass verify` finds about each domain in a cluster; failures may heal for a while."""
    return {
        target.name: Verifier(
            wait_seconds=patience.left(), progress=lambda words: say(f"waiting: {words}")
        ).verify(target)
        for target in targets_of(config, None, None)
        if target.front != "envoy"
    }


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Whether other names lead past the gate; nothing where that cannot be. `cluster`: None where
    nobody is to be asked.
    """
    gate = config.gate
    if gate is not None and gate.guards_every_host:
        return [ok(GATE_HOSTS, "the gate guards whatever name is asked for")]
    if gate is None or not kinds_of(gate):
        return []
    if cluster is None:
        return [skipped(GATE_HOSTS, f"{_QUESTION}: --kubeconfig FILE looks at the cluster")]
    try:
        listed = list_all(DeployTarget(cluster, discover_kinds(cluster)), kinds_of(gate))
        found = find_gate_bypass(cluster, listed, config)
    except DaypassError as error:
        return [skipped(GATE_HOSTS, f"{_QUESTION}: {error.fact}")]
    if found.lines:
        return [warning(GATE_HOSTS, "\n".join(found.lines), found.hint)]
    if listed.unseen:
        return [skipped(GATE_HOSTS, f"{_QUESTION}: no right to list {', '.join(listed.unseen)}")]
    return [ok(GATE_HOSTS, "no other name on that gateway leads to what it guards")]


def has_failures(findings: Findings) -> bool:
    """Whether anything does not work, or is not safe."""
    return any(each.level is Level.FAILURE for found in findings.values() for each in found)


GROUP = "gateway.envoyproxy.io"
_LISTED = re.compile(r"\[([^\]]*)\]")


def wait_for_policies(
    target: DeployTarget, policies: Collection[ObjectRef], patience: Deadline, say: Say
) -> list[str]:
    """Wait until each SecurityPolicy is accepted; what is not as it should be then, a line each.

    Of other kinds it is told. Raises NotReadyError: as long as one is not accepted, whoever comes
    is let in.
    """
    own = {policy.where for policy in policies}
    troubles = []
    for policy in sorted(policies):
        hint = kubectl("describe", policy.kind.lower(), policy.name, "-n", policy.namespace)
        if policy.kind == "SecurityPolicy":
            found = patience.wait(lambda: _accepted(target, policy), say, hint)  # noqa: B023 - now
            if outside := [name for name in replaced(found) if name not in own]:
                troubles.append(
                    f"{policy}: other policies replace it for {', '.join(outside)}, which nobody"
                    " guards: let them say mergeType: StrategicMerge"
                )
        elif refusal := refused(target.find(policy) or {}):
            troubles.append(f"{policy} is not in force: {refusal}")
    return troubles


def _accepted(target: DeployTarget, policy: ObjectRef) -> Object | str:
    document = target.find(policy) or {}
    if refusal := refused(document):
        return f"{policy}: {refusal}"
    if not list(_conditions(document, "Accepted")):
        return f"{policy}: no Envoy Gateway has looked at it yet"
    return document


def refused(document: Object) -> str:
    """Why a policy is not accepted, in the words of its status; empty if nobody says so."""
    said = (each for each in _conditions(document, "Accepted") if each.get("status") != "True")
    return next((printable(str(each.get("message"))) for each in said), "")


def replaced(document: Object) -> list[str]:
    """`NAMESPACE/NAME` of the routes (and listeners) for which other policies replace one.

    The status lists them in words: `... for these routes: [team/a team/b]`.
    """
    said = [each for each in _conditions(document, "Overridden") if each.get("status") == "True"]
    listed = (found for each in said for found in _LISTED.findall(str(each.get("message"))))
    return sorted({printable(name) for names in listed for name in names.split()})


def _conditions(document: Object, kind: str) -> Iterator[Object]:
    """Those that are said of the document as it is now, by whatever controller."""
    generation = (document.get("metadata") or {}).get("generation")
    for ancestor in (document.get("status") or {}).get("ancestors") or ():
        for condition in ancestor.get("conditions") or ():
            current = condition.get("observedGeneration", generation) == generation
            if current and condition.get("type") == kind:
                yield condition
