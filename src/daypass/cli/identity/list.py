"""`daypass identity list`: identities with their grants, tokens and health."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NoReturn

from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import exit_code
from daypass._core.hints import command
from daypass.cli import log, options, write
from daypass.cli.output import as_text, table

if TYPE_CHECKING:
    from daypass.identity.health import IdentityHealth
    from daypass.identity.inventory import ClusterObjects
    from daypass.kube.cluster import Cluster

EXTRA = "admin"
SUMMARY = "who has access to what, and what is wrong with it"
EPILOG = """examples:
  daypass identity list -n team
  daypass identity list -A -o wide
  daypass identity list -A --check --unused-after 30d     exit code 3 if there is a problem

GRANTS are of all RoleBindings: alice=edit is Kubeflow's edit in the namespace alice,
*=clusterrole/x a ClusterRoleBinding. No token is read.
"""
WATCH_SECONDS = 2.0
"""Between two lists; longer, if a list takes long."""
CLEAR = "\x1b[H\x1b[2J"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "-A", "--all-namespaces", action="store_true", help="the identities of all namespaces"
    )
    options.add_output(
        parser, "default: table; wide: doors, all grants, health in sentences",
        choices=("table", "wide", "json", "yaml"),
    )  # fmt: skip
    parser.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="print again after each change; json: one line each time",
    )
    options.add_health(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print the inventory; return 3 if --check finds a problem."""
    if args.watch and args.check:
        raise UsageError("--watch never ends, so --check has no result", "leave one out")
    with options.open_cluster(args) as cluster:
        from daypass.identity.inventory import list_objects

        namespace = None if args.all_namespaces else cluster.namespace
        if args.watch:
            _watch(cluster, namespace, args)
        objects = list_objects(cluster, namespace, warn=log)
        examined = _examine(cluster, objects, namespace, args)
        see_all = "see all: " + command("identity", "list", "-A")
        if namespace and not examined and objects.namespaces == []:
            raise DaypassError(f"there is no namespace {namespace}", see_all)
        write(_text(cluster, examined, args.output))
        if not examined and namespace:
            log(f"no identity in {namespace}", see_all)
        elif not examined:
            log("no identity in any namespace")
        return exit_code(*(each.findings for each in examined)) if args.check else 0


def _watch(cluster: Cluster, namespace: str | None, args: Namespace) -> NoReturn:
    """Print the inventory until Ctrl-C, after each change."""
    from daypass.identity.inventory import list_objects
    from daypass.kube.errors import is_transient

    last, warn_once = None, cache(log)
    while True:
        began = cluster.clock.monotonic()
        try:
            objects = list_objects(cluster, namespace, warn=warn_once)
        except DaypassError as error:
            if last is None or not is_transient(error):
                raise
            warn_once(error.fact, error.hint)
        else:
            examined = _examine(cluster, objects, namespace, args)
            text = _text(cluster, examined, args.output, json_indent=None)
            if text != last:
                begin = "---\n" if args.output == "yaml" else ""
                write((CLEAR if sys.stdout.isatty() else begin) + text)
            last = text
        took = cluster.clock.monotonic() - began
        cluster.sleep(max(WATCH_SECONDS, 5 * took))


def _examine(
    cluster: Cluster, objects: ClusterObjects, namespace: str | None, args: Namespace
) -> Sequence[IdentityHealth]:
    from daypass.identity.health import examine

    return examine(objects, cluster.clock, namespace=namespace, unused_seconds=args.unused_after)


def _text(
    cluster: Cluster,
    examined: Sequence[IdentityHealth],
    output: str,
    *,
    json_indent: int | None = 2,
) -> str:
    from daypass.identity.report import json_document, table_rows

    if output in ("json", "yaml"):
        whole = {"identities": [json_document(each) for each in examined]}
        return as_text(whole, output, indent=json_indent)
    if not examined:
        return ""
    rows = table_rows(examined, cluster.clock, wide=output == "wide")
    styles = [
        "failure" if exit_code(each.findings) else "warning" if each.findings else "ok"
        for each in examined
    ]
    return table(list(rows[0]), [list(row.values()) for row in rows], styles)
