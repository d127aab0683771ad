"""`daypass remove`: remove from a cluster what `daypass apply` created there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import TYPE_CHECKING

from daypass._core.hints import command
from daypass.cli import deployment, options
from daypass.cli.console import log, log_waiting, warn
from daypass.cli.output import confirm, did, write_changes

if TYPE_CHECKING:
    from daypass.deploy.cluster_state import ClusterState
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
    options.add_wait(parser, "wait until it is gone, which is the default")
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    with options.open_cluster(args) as cluster:
        from daypass.deploy.apply import wait_until_gone
        from daypass.deploy.cluster_state import read_cluster_state
        from daypass.deploy.remove import find_removals, remove_all
        from daypass.kube.cluster import Waiter

        state = read_cluster_state(cluster)
        removals = find_removals(cluster, state.entries)
        _show(args, state, removals)
        if not state.inventories:
            log(f"{cluster.connection.server}: nothing there was applied by daypass")
            return 0
        confirm(args, "remove it?")
        done = remove_all(state, removals)
        if args.wait and not args.dry_run:
            wait_until_gone(Waiter(cluster, args.timeout, log_waiting), removals, done)
    log(f"{did(args.dry_run, 'remove', 'removed')} {done.removed}; the files in git are unchanged")
    for removal in done.left:
        log(f"left {removal.ref}: {removal.why}")
    if done.kept:
        log(f"once that is empty, `{command('remove')}` removes it too")
    return 0


def _show(args: Namespace, state: ClusterState, removals: list[Removal]) -> None:
    from daypass.deploy.openings import NOTHING, widened
    from daypass.deploy.remove import remaining_identities

    opened = widened(state.exposed, NOTHING)
    identities = remaining_identities(state.cluster) if state.inventories else []
    write_changes(deployment.removals_overview(removals, args.dry_run))
    if opened:
        log("this opens more than is open now:", "\n".join(opened))
    if identities is None:
        warn("no right to list ServiceAccounts: which identities stay is not known")
    elif identities:
        found = Counter(name.namespace for name in identities)
        where = ", ".join(f"{number} in {namespace}" for namespace, number in sorted(found.items()))
        end = command("identity", "delete", "NAME", "-n", "NAMESPACE")
        shown = command("identity", "list", "-A")
        fact = f"identities stay, and the API server accepts their tokens: {where}"
        warn(fact, f"`{shown}` shows them, and this ends one:\n{end}")
