"""`daypass apply`: from the config to a cluster, in one step that can be repeated."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from daypass._core.findings import exit_code
from daypass._core.hints import command, docs_page, kubectl
from daypass.cli import deployment, options
from daypass.cli.console import log, log_waiting
from daypass.cli.output import confirm, write_changes

if TYPE_CHECKING:
    from daypass.deploy.plan import ApplyPlan
    from daypass.kube.cluster import Waiter

SUMMARY = "show what would change, commit, apply, wait and verify"
EPILOG = f"""\
examples:
  daypass apply                        the tree in deploy/, a commit of it, the cluster
  daypass apply --dry-run
  daypass apply --yes                  without a terminal; even if it opens more
  daypass apply --no-commit --no-wait

The API server checks the objects first, even with --dry-run=client. Whatever opens more than is
open now needs confirmation. What is no longer in the config is removed. If it was interrupted, run
it again. See
{docs_page("how-to/apply.md")}
"""
_POLICY_KINDS = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def add_arguments(parser: ArgumentParser) -> None:
    options.add_directory(parser)
    options.add_yes(parser, "don't ask for confirmation, even if it opens more")
    options.add_dry_run(parser)
    parser.add_argument(
        "--force-conflicts", action="store_true", help="take over fields that others have set"
    )
    parser.add_argument("--no-commit", action="store_true", help="write the tree, but don't commit")
    options.add_wait(parser, "wait for the rollout, then verify the door, which is the default")
    parser.add_argument("--no-verify", action="store_true", help="wait for the rollout only")
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Apply; return 0, or 3 if `verify` has findings."""
    with deployment.open_plan(args) as plan:
        plan.state.require_keys(plan.config)
        _show(args, plan)
        if not args.force_conflicts:
            plan.verify_unowned()
        if args.dry_run:
            return 0
        _confirm_and_commit(args, plan)
        if not args.wait:
            _execute(args, plan)
            return 0
        from daypass.deploy.apply import wait_for_publication
        from daypass.kube.cluster import Waiter

        waiter = Waiter(plan.state.cluster, args.timeout, log_waiting)
        _execute(args, plan, partial(wait_for_publication, waiter, plan.config))
        return _wait(args, plan, waiter)


def _show(args: Namespace, plan: ApplyPlan) -> None:
    shown = deployment.diffs(plan, whole=bool(args.dry_run))
    write_changes(shown + deployment.overview(plan, args.dry_run))
    log(f"{plan.state.cluster.connection.server}: {deployment.counts(plan)}")
    for need in plan.missing:
        name = deployment.name_of_need(need)
        files = ("--cert", "FILE", "--key", "FILE")
        make = kubectl("create", "secret", "tls", need.name, "-n", need.namespace, *files)
        fact = f"{name} is not there: the certificate of {need.host} and its key"
        log(fact, f"create it: {make}")
    deployment.log_risks(plan, "this opens more than is open now:")


def _confirm_and_commit(args: Namespace, plan: ApplyPlan) -> None:
    """Ask for confirmation if it is needed, write the tree, and commit it."""
    from daypass.deploy.repository import write
    from daypass.render.manifests import render_tree

    folder, checkout = options.tree_folder(args), None
    tree = render_tree(plan.folders)
    if not args.no_commit:
        from daypass.deploy.repository import Checkout

        checkout = Checkout(folder, (args.config, *plan.config.cluster.files), tree)
    if plan.needs_confirmation:
        confirm(args, "apply it?")
    if drifts := write(folder, tree):
        log(f"files in {folder}: {len(drifts)} changed")
    if checkout and (committed := checkout.commit(plan.widened)):
        log(f"committed {committed}: push it when you like")


def _execute(
    args: Namespace,
    plan: ApplyPlan,
    before_gate: Callable[[], object] = lambda: None,
) -> None:
    from daypass.deploy.apply import execute

    done = execute(plan, force=args.force_conflicts, before_gate=before_gate)
    if not args.wait:
        for need in plan.waiting:
            log(
                f"{deployment.name_of_need(need)} is a copy of what cert-manager has not made yet",
                "once it has: " + command("apply"),
            )
    if done.applied or done.removed:
        log(f"applied {done.applied}, removed {done.removed}")
    for removal in done.left:
        log(f"left {removal.ref}: {removal.why}")


def _wait(args: Namespace, plan: ApplyPlan, waiter: Waiter) -> int:
    """Wait for the rollout, the policy and the gate, then verify the published door."""
    from daypass.cli.verify import findings_text, log_timeouts
    from daypass.deploy import apply
    from daypass.identity.enforcement import wait_until_enforced

    config = plan.config
    if plan.waiting:
        apply.wait_for_certificate(waiter, plan.pair)
        again = deployment.read_plan(plan.state.cluster, config)
        _execute(args, again, partial(apply.wait_for_publication, waiter, config))
    for change in plan.changes:
        if change.ref.kind == "Deployment":
            ready = apply.wait_for_rollout(waiter, change.ref)
            log(f"{change.ref}: {ready} of {ready} ready")
    changed = {change.ref.kind for change in plan.to_apply}
    if config.policy is not None and changed & _POLICY_KINDS:
        wait_until_enforced(waiter, config.policy)
        log(f"the policy is in force; mode {config.policy.mode}")
    problems = apply.wait_for_policies(waiter, [change.ref for change in plan.changes])
    if problems:
        log("the gate has problems:", "\n".join(problem.sentence for problem in problems))
    if args.no_verify:
        return exit_code(problems)
    findings = apply.verify_published(waiter, config)
    log_timeouts(args, findings)
    log("seen from outside:", findings_text(findings))
    return exit_code(problems, *findings.values())
