"""`daypass apply`: from the config to a cluster, in one step that can be repeated."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import DaypassError, MissingExtraError
from daypass._core.hints import command
from daypass.cli import log, put_text, write
from daypass.cli.options import add_cluster_options, open_cluster

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.config import Config
    from daypass.deploy.cluster_state import ClusterState
    from daypass.deploy.plan import ApplyPlan
    from daypass.deploy.wait import Deadline
    from daypass.kube.cluster import Cluster

SUMMARY = "show what would change, commit it, apply it, wait for it, verify it"
EPILOG = """\
examples:
  daypass apply                                the tree in deploy/, a commit of it, the cluster
  daypass apply --dry-run                      only show what would change
  daypass apply --yes                          where nobody can be asked; opens more, too
  daypass apply --no-commit --no-wait          no git, and back as soon as the API server has it

It can be interrupted anywhere: the same command again goes on from there. Whatever opens more than
is open now, the first apply as well, is listed and takes a yes. What was applied and is no longer
in the config is removed. docs/apply.md says the rest.
"""
_TIMEOUT_SECONDS = 300
_POLICY_KINDS = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of `daypass apply`."""
    from daypass._core.duration import parse_seconds

    add_config_options(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask, also if it opens more")
    parser.add_argument(
        "--dry-run", action="store_true", help="let the API server check all of it; change nothing"
    )
    parser.add_argument(
        "--force-conflicts", action="store_true", help="take over fields that others have set"
    )
    parser.add_argument(
        "--no-commit", action="store_true", help="write the tree, and leave git to yourself"
    )
    parser.add_argument("--no-wait", action="store_true", help="wait for nothing, verify nothing")
    parser.add_argument("--no-verify", action="store_true", help="wait for the rollout only")
    parser.add_argument(
        "--timeout", type=parse_seconds, default=_TIMEOUT_SECONDS, metavar="TIME",
        help="how long to wait in all (default: 5m)",
    )  # fmt: skip
    parser.add_argument("--output", choices=("text", "json"), default="text")
    add_cluster_options(parser)


def add_config_options(parser: ArgumentParser) -> None:
    """--config and --tree, as `daypass diff` has them too."""
    parser.add_argument(
        "--config", type=Path, default=Path("daypass.yaml"), metavar="FILE",
        help="the config file (default: daypass.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--tree", type=Path, metavar="DIR",
        help="where the rendered files are (default: deploy/ beside the config)",
    )  # fmt: skip


def tree_folder(args: Namespace) -> Path:
    """The folder of the rendered files."""
    tree: Path | None = args.tree
    return tree or Path(args.config).parent / "deploy"


def run(args: Namespace) -> int:
    """Apply; 0, or 3 where `verify` has findings."""
    with closing(open_cluster(args)) as cluster:
        try:
            from daypass.config import load
            from daypass.deploy.cluster_state import read_cluster_state
            from daypass.deploy.plan import make_plan
        except ModuleNotFoundError as error:
            raise MissingExtraError("daypass apply", "admin") from error
        config = load(args.config)
        state = read_cluster_state(cluster)
        plan = make_plan(state, config)
        _show(args, cluster, plan)
        if not args.force_conflicts:
            plan.verify_unowned()
        if args.dry_run:
            return 0
        _keep(args, config, state, plan)
        _carry_out(args, state, plan)
        return 0 if args.no_wait else _wait(args, state, config, plan)


def _show(args: Namespace, cluster: Cluster, plan: ApplyPlan) -> None:
    from daypass.deploy import report

    if args.output == "json":
        write(json.dumps(report.as_json(plan)) + "\n")
    else:
        put_text(report.diffs(plan, whole=args.dry_run))
        put_text(report.overview(plan))
    log(f"{cluster.connection.server}: {report.counts(plan)}")
    for line in report.missing_lines(plan):
        log(line)
    if plan.widened:
        log("this opens more than is open now:", "\n".join(plan.widened))
    for fact, hint in report.warnings(plan):
        log(f"warning: {fact}", hint)


def ask_yes(question: str, otherwise: str) -> None:
    """Come back after a yes. Raises DaypassError after anything else, or where nobody is there."""
    import sys

    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise DaypassError("nothing was done: nobody is here to say yes", otherwise)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DaypassError("nothing was done")


def _keep(args: Namespace, config: Config, state: ClusterState, plan: ApplyPlan) -> None:
    """The yes that it takes, the files, and the commit of them."""
    from daypass.render.manifests import render_tree
    from daypass.render.output_tree import write

    tree, folder, checkout = render_tree(config, state.facts(config)), tree_folder(args), None
    if not args.no_commit:
        from daypass.deploy.git import Checkout

        checkout = Checkout(folder, args.config)
        checkout.verify(tree)
    if plan.takes_yes and not args.yes:
        ask_yes("apply it?", "look at the list, then: " + command("apply", "--yes"))
    if drifts := write(folder, tree):
        log(f"files in {folder}: {len(drifts)} changed")
    committed = checkout.commit(tree, plan.widened) if checkout else None
    if committed:
        log(f"committed {committed.name} to {committed.branch}: push it when you like")
        if committed.superproject:
            log(f"it is a submodule: commit it in {committed.superproject}, too")


def _carry_out(args: Namespace, state: ClusterState, plan: ApplyPlan) -> None:
    from daypass.deploy.apply import execute

    done = execute(state.cluster, plan, force=args.force_conflicts)
    if args.no_wait:
        from daypass.deploy.report import waiting_lines

        for line in waiting_lines(plan):
            log(line, "once it has: " + command("apply"))
    if done.applied or done.removed:
        log(f"applied {done.applied}, removed {done.removed}")
    for removal in done.left:
        log(f"left {removal.identifier}: {removal.why}")


def _wait(args: Namespace, state: ClusterState, config: Config, plan: ApplyPlan) -> int:
    """Until it runs, and then whether it does what it should."""
    from daypass.deploy.cluster_state import read_cluster_state
    from daypass.deploy.plan import make_plan
    from daypass.deploy.wait import Deadline, wait_for_certificate, wait_for_rollout

    deadline = Deadline(state.cluster, args.timeout)
    if plan.waiting:
        wait_for_certificate(state.cluster, plan.pair, deadline, log)
        state = read_cluster_state(state.cluster)
        _carry_out(args, state, make_plan(state, config))
    for change in plan.changes:
        if change.identifier.kind == "Deployment":
            wait_for_rollout(state.cluster, change.identifier, deadline, log)
    _wait_for_policy(state, config, plan)
    problems = _wait_for_gate(state, plan, deadline)
    if args.no_verify:
        return 3 if problems else 0
    from daypass.deploy.wait import verify_published
    from daypass.verification import report

    findings = verify_published(config, deadline, log)
    log("seen from outside:", report.text(findings))
    return 3 if problems or report.has_failures(findings) else 0


def _wait_for_policy(state: ClusterState, config: Config, plan: ApplyPlan) -> None:
    """Until it counts, where this apply has changed it: an API server takes up to a second."""
    kinds = {change.identifier.kind for change in plan.to_apply}
    if config.policy is not None and kinds & _POLICY_KINDS:
        from daypass.identity.policy import wait_until_enforced

        seen_in = wait_until_enforced(state.cluster, config.policy)
        where = f"in force, as seen in {seen_in}" if seen_in else "installed"
        log(f"the policy is {where}; mode {config.policy.mode}")


def _wait_for_gate(state: ClusterState, plan: ApplyPlan, deadline: Deadline) -> list[str]:
    """Until the gateway has taken up the gate's policies; what is then not as it should be."""
    from daypass.deploy.wait import GATEWAY_POLICIES, wait_for_policies

    policies = [c.identifier for c in plan.changes if c.identifier.group == GATEWAY_POLICIES]
    problems = wait_for_policies(state.cluster, policies, deadline, log)
    if problems:
        log("the gate is not as it should be:", "\n".join(problems))
    return problems
