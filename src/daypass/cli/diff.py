"""`daypass diff`: is what the config says in the files, in git, and in the cluster?"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from daypass._core.errors import MissingExtraError
from daypass._core.hints import command
from daypass.cli import log, put_text, write
from daypass.cli.apply import add_config_options, tree_folder
from daypass.cli.options import add_cluster_options, open_cluster

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.deploy.plan import ApplyPlan
    from daypass.render.output_tree import Drift

SUMMARY = "compare the config with the rendered files, with git and with the cluster"
EPILOG = """\
examples:
  daypass diff                     ends with 3 if anything differs
  daypass diff --output json
  daypass render --output deploy --check      the files alone, without a cluster

Nothing is changed. The API server is asked by a dry run what it would make of each object, so that
defaults and what other controllers own are no differences. Secrets are never shown.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of `daypass diff`."""
    add_config_options(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    add_cluster_options(parser)


def run(args: Namespace) -> int:
    """Compare; 0, or 3 where anything differs."""
    with closing(open_cluster(args)) as cluster:
        try:
            from daypass.config import load
            from daypass.deploy.cluster_state import DIFF_WITH_KUBECTL, read_cluster_state
            from daypass.deploy.git import not_in_git
            from daypass.deploy.plan import make_plan
            from daypass.render.manifests import render_tree
            from daypass.render.output_tree import drifts
        except ModuleNotFoundError as error:
            raise MissingExtraError("daypass diff", "admin") from error
        config = load(args.config)
        state = read_cluster_state(cluster, instead=DIFF_WITH_KUBECTL)
        plan = make_plan(state, config)
        folder, tree = tree_folder(args), render_tree(config, state.facts(config))
        files, loose = drifts(folder, tree), not_in_git(folder, args.config, tree)
        _show(args, plan, files, loose)
        return 3 if files or loose or plan.differs else 0


def _show(args: Namespace, plan: ApplyPlan, files: list[Drift], loose: list[str]) -> None:
    from daypass.deploy import report

    if args.output == "json":
        changes = [{"path": drift.path, "diff": drift.diff()} for drift in files]
        write(json.dumps({"files": changes, "uncommitted": loose, **report.as_json(plan)}) + "\n")
    else:
        put_text("".join(drift.diff() for drift in files))
        put_text(report.diffs(plan, whole=True))
        put_text(report.overview(plan))
    folder = tree_folder(args)
    log(f"files in {folder}: " + (f"{len(files)} differ" if files else "as the config says"))
    for path in loose:
        log(f"git does not have {path} as it is")
    log(f"cluster: {report.counts(plan)}")
    for line in (owner for change in plan.changes for owner in change.owners):
        log(line)
    if plan.widened:
        log(f"`{command('apply')}` would open more than is open now:", "\n".join(plan.widened))
    for fact, hint in report.warnings(plan):
        log(f"warning: {fact}", hint)
