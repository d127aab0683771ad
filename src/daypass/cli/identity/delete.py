"""`daypass identity delete`: delete everything that was created for an identity."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from daypass._core.errors import UsageError
from daypass._core.hints import kubectl
from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.output import confirm, did, write_result

SUMMARY = "delete an identity, with its tokens and grants everywhere"
EPILOG = """examples:
  daypass identity delete bot -n team --dry-run
  daypass identity delete bot -n team --yes            without a terminal
  daypass identity delete --expired -A

--expired deletes retired Secrets, and the tokens and grants of identities after their deadline,
which are still listed. An adopted ServiceAccount stays. If it was interrupted, run it again. Exit
code 3: a gate has not published the deletion in time, or a ServiceAccount stays without daypass's
label, or with tokens.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What was deleted."""

    identities: Annotated[Sequence[str], "those deleted, or expired, as NAMESPACE/NAME"]
    deleted: Annotated[Sequence[str], "the objects, as `resource/name in namespace`"]
    left: Annotated[Sequence[str], "objects that stay, since daypass did not create them"] = ()
    errors: Annotated[Sequence[str], "what could not be deleted, and why"] = ()


OUTPUT = Deletion


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="the identity")
    parser.add_argument("--expired", action="store_true", help="what has expired instead")
    parser.add_argument(
        "-A", "--all-namespaces", action="store_true", help="with --expired: in all namespaces"
    )
    options.add_deletion(parser)


def run(args: Namespace) -> int:
    if args.expired == bool(args.name):
        raise UsageError("name one identity, or --expired", "see --help")
    if args.all_namespaces and not args.expired:
        raise UsageError("-A is for --expired", "leave it out")
    return _delete_expired(args) if args.expired else _delete(args)


def _delete(args: Namespace) -> int:
    with options.open_identity(args) as (cluster, name):
        from daypass.identity.delete import delete

        there = f"{name} at {cluster.connection.server}"
        confirm(args, f"delete identity {there}, its tokens and its grants in every namespace?")
        gates = options.gate_wait(args, cluster)
        deleted = delete(cluster, name, warn=warn, wait=gates.wait_removed)
        gates.wait_removed([deleted.account_uid] if deleted.account_uid else [])
    _report(
        args,
        Deletion(
            identities=[name.key],
            deleted=deleted.deleted,
            left=deleted.left,
        ),
    )
    done = did(args.dry_run, "delete", "deleted")
    log(f"{done} identity {there}: {len(deleted.deleted)} objects", gates.at_gates)
    for each in deleted.left:
        log(f"{each} stays: it is not marked as created by daypass")
    if deleted.is_unmarked:
        end = kubectl("delete", "serviceaccount", name.name, "-n", name.namespace)
        warn(
            "somebody who removed its label could create its Secrets again",
            f"delete it: {end}",
        )
    return 3 if deleted.is_unmarked or not deleted.has_ended else gates.exit_code


def _delete_expired(args: Namespace) -> int:
    with options.open_cluster(args) as cluster:
        from daypass.identity.delete import delete_expired
        from daypass.kube.resources import SECRETS

        namespace = None if args.all_namespaces else cluster.namespace
        where = "every namespace" if namespace is None else f"namespace {namespace}"
        confirm(args, f"delete what has expired in {where} at {cluster.connection.server}?")
        found = delete_expired(cluster, namespace, warn=warn)
        gates = options.gate_wait(args, cluster)
        gates.wait_removed(each.uid for each in found.deleted if each.resource is SECRETS)
    names = [name.key for name in found.identities]
    deleted = [each.display for each in found.deleted]
    errors = [error.fact for error in found.errors]
    _report(args, Deletion(identities=names, deleted=deleted, errors=errors))
    done = did(args.dry_run, "delete", "deleted")
    log(f"{done} {len(deleted)} objects that have expired in {where}", gates.at_gates)
    for error in found.errors:
        log(error.fact, error.hint)
    return 1 if errors else gates.exit_code


def _report(args: Namespace, result: Deletion) -> None:
    done = did(args.dry_run, "delete", "deleted")
    write_result(args, result, "".join(f"{done} {each}\n" for each in result.deleted))
