"""A plan as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from daypass.deploy.object_ref import ObjectRef
from daypass.deploy.plan import ApplyPlan
from daypass.deploy.remove import Removal
from daypass.render.prerequisites import Prerequisite

_VERBS = {"create": "create", "change": "change", "own": "take over"}
_WIDTH = 9


def diffs(plan: ApplyPlan, *, whole: bool) -> str:
    """Return the changes as unified diffs; `whole`: those of new objects too."""
    verdicts = ("create", "change") if whole else ("change",)
    return "".join(change.diff() for change in plan.changes if change.verdict in verdicts)


def overview(plan: ApplyPlan) -> str:
    """Return a line for each object that is changed or removed, in that order."""
    changes = sorted(plan.to_apply, key=lambda change: change.identifier.wave)
    rows = [(_VERBS[change.verdict], str(change.identifier)) for change in changes]
    return _lines(rows) + removals_overview(plan.removals)


def removals_overview(removals: Sequence[Removal]) -> str:
    """Return a line for each removal."""
    return _lines([(removal.fate, _with_reason(removal)) for removal in removals])


def counts(plan: ApplyPlan) -> str:
    """Return `3 to create, 1 to change`, or that nothing is to do."""
    found = Counter(_VERBS[change.verdict] for change in plan.to_apply)
    found.update(removal.fate for removal in plan.removals)
    return ", ".join(f"{number} to {verb}" for verb, number in found.items()) or (
        "all is as the config says"
    )


def missing_lines(plan: ApplyPlan) -> Iterator[str]:
    """Yield what the user has to provide, and is missing."""
    for need in plan.missing:
        yield f"{_named(need)} is not there: the certificate of {need.host} and its key"


def waiting_lines(plan: ApplyPlan) -> Iterator[str]:
    """Yield what can only be copied once cert-manager has made it."""
    for need in plan.waiting:
        yield f"{_named(need)} is a copy of what cert-manager has not made yet"


def warnings(plan: ApplyPlan) -> Iterator[tuple[str, str]]:
    """Yield what to know before applying: a fact, and what to do."""
    for line in plan.collisions:
        yield line, "which of the two is served is for the front to choose"
    *lines, last = plan.unguarded.lines or ("",)
    for line in lines:
        yield line, ""
    if last:
        yield last, plan.unguarded.hint
    if plan.unseen:
        what = ", ".join(plan.unseen)
        yield f"no right to list {what}: whether others' routes are in the way is not known", ""


def as_json(plan: ApplyPlan) -> dict[str, Any]:
    """Return everything, for programs."""
    return {
        "objects": [
            {
                **_json(change.identifier),
                "action": _VERBS[change.verdict],
                "diff": change.diff(),
            }
            for change in plan.to_apply
        ]
        + removals_json(plan.removals),
        "unchanged": len(plan.changes) - len(plan.to_apply),
        "widens": list(plan.widened),
        "collisions": list(plan.collisions),
        "unguarded": list(plan.unguarded.lines),
        "unseen": list(plan.unseen),
        "missing": [_named(need) for need in plan.missing],
    }


def removals_json(removals: Sequence[Removal]) -> list[dict[str, str]]:
    """Return the removals, for programs."""
    return [{**_json(r.identifier), "action": r.fate, "why": r.why} for r in removals]


def _with_reason(removal: Removal) -> str:
    return f"{removal.identifier}: {removal.why}" if removal.why else str(removal.identifier)


def _json(identifier: ObjectRef) -> dict[str, str]:
    return {
        "group": identifier.group,
        "kind": identifier.kind,
        "namespace": identifier.namespace,
        "name": identifier.name,
    }


def _lines(rows: list[tuple[str, str]]) -> str:
    return "".join(f"{verb:<{_WIDTH}} {what}\n" for verb, what in rows)


def _named(need: Prerequisite) -> str:
    return f"{need.kind} {need.namespace}/{need.name}"
