"""What `daypass apply`, `diff` and `remove` share: a plan, and how it is shown."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daypass.cli import options
from daypass.cli.console import log, warn

if TYPE_CHECKING:
    from daypass.config import Config
    from daypass.deploy.plan import ApplyPlan
    from daypass.deploy.remove import Removal
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
