"""`daypass remove`: whatever `daypass apply` brought into a cluster, out of it again."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from daypass._core.duration import parse_seconds
from daypass._core.errors import MissingExtraError
from daypass._core.hints import command
from daypass.cli import log, put_text, write
from daypass.cli.apply import ask_yes
from daypass.cli.options import add_cluster_options, open_cluster

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.deploy.remove import Removal

SUMMARY = "remove all that `daypass apply` brought into the cluster, and nothing else"
EPILOG = """\
examples:
  daypass remove                 lists it, and asks
  daypass remove --dry-run
  daypass remove --yes --no-wait

It goes by what the cluster remembers, not by the config. An object that somebody else has made anew
stays, and so does a namespace that holds anything of others; both are told. Identities, their
tokens and the files in git are left as they are.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of `daypass remove`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only list it")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is gone")
    parser.add_argument(
        "--timeout", type=parse_seconds, default=300, metavar="TIME",
        help="how long to wait (default: 5m)",
    )  # fmt: skip
    parser.add_argument("--output", choices=("text", "json"), default="text")
    add_cluster_options(parser)


def run(args: Namespace) -> int:
    """Remove it."""
    with closing(open_cluster(args)) as cluster:
        try:
            from daypass.deploy.cluster_state import DELETE_WITH_KUBECTL, read_cluster_state
            from daypass.deploy.remove import find_removals, remove_all
            from daypass.deploy.wait import Deadline, wait_until_gone
        except ModuleNotFoundError as error:
            raise MissingExtraError("daypass remove", "admin") from error
        state = read_cluster_state(cluster, instead=DELETE_WITH_KUBECTL)
        removals = find_removals(cluster, state.entries)
        _show(args, removals)
        if not state.inventories:
            log(f"{cluster.connection.server}: nothing there was applied by daypass")
            return 0
        if args.dry_run:
            return 0
        if not args.yes:
            ask_yes("remove it?", command("remove", "--yes"))
        done = remove_all(state, removals)
        if not args.no_wait:
            deadline = Deadline(cluster, args.timeout)
            wait_until_gone(cluster, removals, done, deadline, log)
    log(f"removed {done.removed}; the files in git are as they were")
    for removal in done.left:
        log(f"left {removal.identifier}: {removal.why}")
    if done.kept:
        log(f"once that is empty, `{command('remove')}` takes it away as well")
    return 0


def _show(args: Namespace, removals: list[Removal]) -> None:
    from daypass.deploy import report

    if args.output == "json":
        write(json.dumps({"objects": report.removals_json(removals)}) + "\n")
    else:
        put_text(report.removals_overview(removals))
    if any(r.identifier.kind == "ValidatingAdmissionPolicy" for r in removals):
        log("with the policy gone, nothing limits the short-lived tokens of identities any more")
