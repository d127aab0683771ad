"""`daypass remove`: remove from a cluster what `daypass apply` created there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass._core.hints import command
from daypass.cli import deployment, log, options
from daypass.cli.output import confirm, did, write_result
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from daypass.deploy.remove import Removal

SUMMARY = "remove what `daypass apply` created, and nothing else"
EPILOG = """\
examples:
  daypass remove                 lists it, and asks for confirmation
  daypass remove --dry-run=server
  daypass remove --yes --no-wait         without a terminal

It uses the record in the cluster, not the config. Identities, their tokens and the files in git
stay. So does an object that somebody else has recreated, and a namespace that holds other objects.
"""


def add_arguments(parser: ArgumentParser) -> None:
    options.add_yes(parser)
    options.add_dry_run(parser)
    options.add_wait(parser, "wait until it is gone")
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    with options.open_cluster(args) as cluster:
        from daypass.deploy.apply import wait_until_gone
        from daypass.deploy.cluster_state import read_cluster_state
        from daypass.deploy.remove import find_removals, remove_all
        from daypass.kube.waiting import Waiter

        state = read_cluster_state(cluster, instead="delete")
        removals = find_removals(cluster, state.entries)
        _show(args, removals)
        if not state.inventories:
            log(f"{cluster.connection.server}: nothing there was applied by daypass")
            return 0
        confirm(args, "remove it?")
        with progress(args, "removing it") as status:
            done = remove_all(state, removals)
            if args.wait and not args.dry_run:
                wait_until_gone(Waiter(cluster, args.timeout, status.wait), removals, done)
    log(f"{did(args.dry_run, 'remove', 'removed')} {done.removed}; the files in git are unchanged")
    for removal in done.left:
        log(f"left {removal.ref}: {removal.why}")
    if done.kept:
        log(f"once that is empty, `{command('remove')}` removes it too")
    return 0


def _show(args: Namespace, removals: list[Removal]) -> None:
    shown = deployment.removals_overview(removals, args.dry_run)
    objects = deployment.removals_json(removals)
    write_result(args, {"objects": objects, "dryRun": args.dry_run}, shown)
    if any(r.ref.kind == "ValidatingAdmissionPolicy" for r in removals):
        log("without the policy, nothing limits the short-lived tokens of identities any more")
