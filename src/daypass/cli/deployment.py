"""What `daypass apply`, `diff` and `remove` share: a plan, and how it is shown."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from daypass._core.findings import Finding
from daypass.cli import options
from daypass.cli.console import log, warn

if TYPE_CHECKING:
    from daypass.config import Config
    from daypass.deploy.objects import ObjectRef
    from daypass.deploy.plan import ApplyPlan
    from daypass.deploy.remove import Removal
    from daypass.deploy.repository import Drift
    from daypass.kube.cluster import Cluster
    from daypass.render.prerequisites import Prerequisite


@contextmanager
def open_plan(args: Namespace) -> Iterator[ApplyPlan]:
    """Compare the config with the cluster, for one block. Nothing is changed.

    Raises ConfigError, KubeconfigError, DaypassError.
    """
    with options.open_cluster(args) as cluster:
        config = options.load_config(args.config)
        yield read_plan(cluster, config)


def read_plan(cluster: Cluster, config: Config) -> ApplyPlan:
    """Return what an apply would do. Raises DaypassError."""
    from daypass.deploy.cluster_state import read_cluster_state
    from daypass.deploy.plan import make_plan
    from daypass.render.manifests import render_folders

    state = read_cluster_state(cluster)
    facts = state.facts(config)
    return make_plan(state, config, facts, render_folders(config, facts))


def diffs(plan: ApplyPlan, *, whole: bool) -> str:
    """Return the changes as unified diffs; `whole`: those of new objects too."""
    actions = ("create", "change") if whole else ("change",)
    return "".join(change.diff() for change in plan.changes if change.action in actions)


def overview(plan: ApplyPlan, dry_run: str | None = None) -> str:
    """Return a line for each object that is changed or removed, in that order."""
    lines = _lines(((change.action, str(change.ref)) for change in plan.to_apply), dry_run)
    return lines + removals_overview(plan.removals, dry_run)


def removals_overview(removals: Sequence[Removal], dry_run: str | None) -> str:
    """Return a line for each removal, with the reason if the object stays; one for what the gate's
    watch has published in a namespace.
    """
    from daypass.render.names import GATE

    applied = [r for r in removals if not r.is_published]
    rows = [(r.action, f"{r.ref}: {r.why}" if r.why else str(r.ref)) for r in applied]
    published = Counter((r.ref.kind, r.ref.namespace) for r in removals if r.is_published)
    rows += [
        ("remove", f"{kind} {where}/{GATE}-*: {number} that the gate's watch has published")
        for (kind, where), number in sorted(published.items())
    ]
    return _lines(rows, dry_run)


def counts(plan: ApplyPlan) -> str:
    """Return `3 to create, 1 to change`, or that nothing is to do."""
    found = Counter[str](change.action for change in plan.to_apply)
    found.update(removal.action for removal in plan.removals)
    return ", ".join(f"{number} to {verb}" for verb, number in found.items()) or (
        "all is as the config says"
    )


Action: TypeAlias = Literal["create", "change", "take over", "remove", "release", "keep", "leave"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """A file that differs from the config."""

    path: Annotated[str, "its path in the folder"]
    diff: Annotated[str, "what changes, as a unified diff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOutput:
    """How rendered files differ from the config, and from git."""

    files: Annotated[Sequence[ChangedFile], "the files that differ from the config"]
    uncommitted: Annotated[Sequence[str], "the files that git does not have as they are"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStep:
    """What happens to an object."""

    action: Annotated[
        Action,
        "take over: only the owner of fields changes; release: only fields of daypass are removed;"
        " keep, leave: it stays",
    ]
    group: Annotated[str, "the API group; empty: the core group"]
    kind: Annotated[str, "the kind"]
    namespace: Annotated[str, "the namespace; empty: the object belongs to none"]
    name: Annotated[str, "the name"]
    diff: Annotated[str, "what changes, as a unified diff; empty: it is removed, or stays"] = ""
    why: Annotated[str, "why it stays"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutput:
    """How a cluster differs from the config."""

    objects: Annotated[Sequence[ObjectStep], "the objects that change"]
    unchanged: Annotated[int, "how many objects stay as they are"]
    widens: Annotated[Sequence[str], "what it opens more than is open now"]
    findings: Annotated[
        Sequence[Finding],
        "what works no longer after it, what is wrong in the cluster, and what you may not see",
    ]
    missing: Annotated[Sequence[str], "what has to exist in addition, as `Kind namespace/name`"]


def files_output(files: Sequence[Drift], uncommitted: Sequence[str]) -> FilesOutput:
    """Return what differs in the rendered files."""
    changed = [ChangedFile(path=each.path, diff=each.diff()) for each in files]
    return FilesOutput(files=changed, uncommitted=uncommitted)


def plan_output(plan: ApplyPlan) -> PlanOutput:
    """Return what differs in the cluster."""
    changes = [
        _step(each.action, each.ref, diff=each.diff())
        for each in plan.changes
        if each.action != "same"
    ]
    return PlanOutput(
        objects=[*changes, *removal_steps(plan.removals)],
        unchanged=len(plan.changes) - len(plan.to_apply),
        widens=plan.widened,
        findings=plan.findings,
        missing=[name_of_need(need) for need in plan.missing],
    )


def removal_steps(removals: Sequence[Removal]) -> list[ObjectStep]:
    """Return what happens to objects that are no longer wanted."""
    return [_step(each.action, each.ref, why=each.why) for each in removals]


def _step(action: Action, ref: ObjectRef, *, diff: str = "", why: str = "") -> ObjectStep:
    return ObjectStep(
        action=action, group=ref.group, kind=ref.kind, namespace=ref.namespace, name=ref.name,
        diff=diff, why=why,
    )  # fmt: skip


def name_of_need(need: Prerequisite) -> str:
    return f"{need.kind} {need.namespace}/{need.name}"


def _lines(rows: Iterable[tuple[str, str]], dry_run: str | None) -> str:
    would = "would " if dry_run else ""
    return "".join(f"{would}{verb:<9} {what}\n" for verb, what in rows)


def log_risks(plan: ApplyPlan, headline: str) -> None:
    """Log what the plan opens, below the headline, and warn of what to know before applying."""
    if plan.widened:
        log(headline, "\n".join(plan.widened))
    for found in plan.findings:
        warn(found.fact, found.hint)
