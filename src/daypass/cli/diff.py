"""`daypass diff`: compare the config with the files, with git and with the cluster."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass._core.hints import command
from daypass.cli import deployment, options
from daypass.cli.console import log
from daypass.cli.output import write_changes

if TYPE_CHECKING:
    from daypass.deploy.plan import ApplyPlan
    from daypass.deploy.repository import Drift

SUMMARY = "compare the config with the files, git and the cluster"
EPILOG = """\
examples:
  daypass diff                     exit code 3 if anything differs
  daypass render --directory deploy --check   the files alone

The API server shows in a dry run what it would make of each object: defaults and fields of other
controllers are no differences. Secrets are never shown.
"""


def add_arguments(parser: ArgumentParser) -> None:
    options.add_directory(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Compare; return 0, or 3 if anything differs."""
    from daypass.deploy.repository import drifts, not_in_git
    from daypass.render.manifests import render_tree

    with deployment.open_plan(args) as plan:
        folder, tree = options.tree_folder(args), render_tree(plan.folders)
        files = drifts(folder, tree)
        uncommitted = not_in_git(folder, (args.config, *plan.config.cluster.files), tree)
        _show(args, plan, files, uncommitted)
        return 3 if files or uncommitted or plan.differing else 0


def _show(args: Namespace, plan: ApplyPlan, files: list[Drift], uncommitted: list[str]) -> None:
    changed = "".join(drift.diff() for drift in files)
    write_changes(changed + deployment.diffs(plan, whole=True) + deployment.overview(plan))
    from daypass.deploy.repository import not_committed

    folder = options.tree_folder(args)
    log(f"files in {folder}: " + (f"{len(files)} differ" if files else "as the config says"))
    if uncommitted:
        log(*not_committed(uncommitted))
    log(f"cluster: {deployment.counts(plan)}")
    for line in (owner for change in plan.changes for owner in change.owners):
        log(line)
    deployment.log_risks(plan, f"`{command('apply')}` would open more than is open now:")
