"""`daypass apply`: from the config to a cluster, in one step that can be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass._core.hints import command
from daypass._core.installation import docs_page
from daypass.cli import Progress, log
from daypass.cli.deployment import (
    counts,
    diffs,
    log_risks,
    name_of_need,
    open_plan,
    overview,
    plan_json,
)
from daypass.cli.options import (
    add_cluster,
    add_directory,
    add_output,
    add_timeout,
    add_yes,
    tree_folder,
)
from daypass.cli.output import confirm, write_changes, write_data
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.config import Config
    from daypass.deploy.cluster_state import ClusterState
    from daypass.deploy.plan import ApplyPlan

EXTRA = "admin"
SUMMARY = "show what would change, commit it, apply it, wait for it, verify it"
EPILOG = f"""\
examples:
  daypass apply                                the tree in deploy/, a commit of it, the cluster
  daypass apply --dry-run                      only show what would change
  daypass apply --yes                          without a terminal; even if it opens more
  daypass apply --no-commit --no-wait          no git; returns once the API server has the objects

It can be interrupted at any time: run the same command again to continue. Everything that opens
more than is open now, including the first apply, is listed and needs confirmation. What was applied
and is no longer in the config is removed. See
{docs_page("how-to/apply.md")}
"""
_POLICY_KINDS = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    add_directory(parser)
    add_yes(parser, "don't ask for confirmation, even if it opens more")
    parser.add_argument(
        "--dry-run", action="store_true", help="let the API server check all of it; change nothing"
    )
    parser.add_argument(
        "--force-conflicts", action="store_true", help="take over fields that others have set"
    )
    parser.add_argument("--no-commit", action="store_true", help="write the tree, but don't commit")
    parser.add_argument("--no-wait", action="store_true", help="wait for nothing, verify nothing")
    parser.add_argument("--no-verify", action="store_true", help="wait for the rollout only")
    add_timeout(parser, "how long to wait in total (default: 5m)")
    add_output(parser)
    add_cluster(parser)


def run(args: Namespace) -> int:
    """Apply; return 0, or 3 if `verify` has findings."""
    with open_plan(args) as (config, state, plan):
        _show(args, state, plan)
        if not args.force_conflicts:
            plan.verify_unowned()
        if args.dry_run:
            return 0
        _confirm_and_commit(args, config, state, plan)
        with progress(args, "applying it") as status:
            _execute(args, state, plan)
            return 0 if args.no_wait else _wait(args, state, config, plan, status)


def _show(args: Namespace, state: ClusterState, plan: ApplyPlan) -> None:
    if args.output != "text":
        write_data(plan_json(plan), args.output, indent=None)
    else:
        write_changes(diffs(plan, whole=args.dry_run) + overview(plan))
    log(f"{state.cluster.connection.server}: {counts(plan)}")
    for need in plan.missing:
        log(f"{name_of_need(need)} is not there: the certificate of {need.host} and its key")
    log_risks(plan, "this opens more than is open now:")


def _confirm_and_commit(
    args: Namespace, config: Config, state: ClusterState, plan: ApplyPlan
) -> None:
    """Ask for confirmation if it is needed, write the tree, and commit it."""
    from daypass.render.manifests import render_tree
    from daypass.render.output_tree import write

    tree, folder, checkout = render_tree(config, state.facts(config)), tree_folder(args), None
    if not args.no_commit:
        from daypass.deploy.git import Checkout

        checkout = Checkout(folder, args.config)
        checkout.verify(tree)
    if plan.needs_confirmation and not args.yes:
        confirm("apply it?", "look at the list, then: " + command("apply", "--yes"))
    if drifts := write(folder, tree):
        log(f"files in {folder}: {len(drifts)} changed")
    committed = checkout.commit(tree, plan.widened) if checkout else None
    if committed:
        log(f"committed {committed.name} to {committed.branch}: push it when you like")
        if committed.superproject:
            log(f"it is a submodule: commit it in {committed.superproject}, too")


def _execute(args: Namespace, state: ClusterState, plan: ApplyPlan) -> None:
    from daypass.deploy.apply import execute

    done = execute(state.cluster, plan, force=args.force_conflicts)
    if args.no_wait:
        for need in plan.waiting:
            log(
                f"{name_of_need(need)} is a copy of what cert-manager has not made yet",
                "once it has: " + command("apply"),
            )
    if done.applied or done.removed:
        log(f"applied {done.applied}, removed {done.removed}")
    for removal in done.left:
        log(f"left {removal.ref}: {removal.why}")


def _wait(
    args: Namespace, state: ClusterState, config: Config, plan: ApplyPlan, status: Progress
) -> int:
    """Wait for the rollout, the policy and the gate, then verify the published door."""
    from daypass.deploy.apply import (
        Waiter,
        verify_published,
        wait_for_certificate,
        wait_for_policies,
        wait_for_rollout,
    )
    from daypass.deploy.cluster_state import read_cluster_state
    from daypass.deploy.plan import make_plan

    waiter = Waiter(state.cluster, args.timeout, log, status.wait)
    if plan.waiting:
        wait_for_certificate(waiter, plan.pair)
        state = read_cluster_state(state.cluster)
        _execute(args, state, make_plan(state, config))
    for change in plan.changes:
        if change.ref.kind == "Deployment":
            wait_for_rollout(waiter, change.ref)
    status.show("waiting until the policy is in force")
    _wait_for_policy(state, config, plan)
    problems = wait_for_policies(waiter, [change.ref for change in plan.changes])
    if problems:
        log("the gate has problems:", "\n".join(problems))
    if args.no_verify:
        return 3 if problems else 0
    from daypass.verification import report

    findings = verify_published(waiter, config, status.show)
    log("seen from outside:", report.text(findings))
    return 3 if problems or report.has_failures(findings) else 0


def _wait_for_policy(state: ClusterState, config: Config, plan: ApplyPlan) -> None:
    """Wait until a changed policy is in force, which takes an API server up to a second."""
    kinds = {change.ref.kind for change in plan.to_apply}
    if config.policy is not None and kinds & _POLICY_KINDS:
        from daypass.identity.policy import wait_until_enforced

        seen_in = wait_until_enforced(state.cluster, config.policy)
        where = f"in force, as seen in {seen_in}" if seen_in else "installed"
        log(f"the policy is {where}; mode {config.policy.mode}")
