"""`daypass remove`: remove from a cluster what `daypass apply` created there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass._core.hints import command
from daypass.cli import log
from daypass.cli.deployment import removals_json, removals_overview
from daypass.cli.options import add_cluster, add_output, add_timeout, add_yes, open_cluster
from daypass.cli.output import confirm, write_changes, write_data
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.deploy.remove import Removal

EXTRA = "admin"
SUMMARY = "remove all that `daypass apply` created in the cluster, and nothing else"
EPILOG = """\
examples:
  daypass remove                 lists it, and asks for confirmation
  daypass remove --dry-run
  daypass remove --yes --no-wait

It uses the record in the cluster, not the config. An object that somebody else has recreated
stays, and so does a namespace that holds other objects; both are reported. Identities, their tokens
and the files in git are left as they are.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    add_yes(parser)
    parser.add_argument("--dry-run", action="store_true", help="only list it")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is gone")
    add_timeout(parser, "how long to wait (default: 5m)")
    add_output(parser)
    add_cluster(parser)


def run(args: Namespace) -> int:
    """Remove it."""
    with open_cluster(args) as cluster:
        from daypass.deploy.apply import Waiter, wait_until_gone
        from daypass.deploy.cluster_state import DELETE_WITH_KUBECTL, read_cluster_state
        from daypass.deploy.remove import find_removals, remove_all

        state = read_cluster_state(cluster, instead=DELETE_WITH_KUBECTL)
        removals = find_removals(cluster, state.entries)
        _show(args, removals)
        if not state.inventories:
            log(f"{cluster.connection.server}: nothing there was applied by daypass")
            return 0
        if args.dry_run:
            return 0
        if not args.yes:
            confirm("remove it?", command("remove", "--yes"))
        with progress(args, "removing it") as status:
            done = remove_all(state, removals)
            if not args.no_wait:
                waiter = Waiter(cluster, args.timeout, log, status.wait)
                wait_until_gone(waiter, removals, done)
    log(f"removed {done.removed}; the files in git are unchanged")
    for removal in done.left:
        log(f"left {removal.ref}: {removal.why}")
    if done.kept:
        log(f"once that is empty, `{command('remove')}` removes it too")
    return 0


def _show(args: Namespace, removals: list[Removal]) -> None:
    if args.output != "text":
        write_data({"objects": removals_json(removals)}, args.output, indent=None)
    else:
        write_changes(removals_overview(removals))
    if any(r.ref.kind == "ValidatingAdmissionPolicy" for r in removals):
        log("without the policy, nothing limits the short-lived tokens of identities any more")
