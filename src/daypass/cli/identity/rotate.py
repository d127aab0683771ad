"""`daypass identity rotate`: new credentials, before the old ones are revoked."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from daypass._core.clock import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass.cli import options
from daypass.cli.console import log
from daypass.cli.output import did, warn_of_git, write_credentials, write_result

if TYPE_CHECKING:
    from daypass.gate.publication import GateWait
    from daypass.identity.accounts import IdentityName
    from daypass.identity.rotate import Rotation
    from daypass.kube.cluster import Cluster

SUMMARY = "give an identity new credentials, and retire the old ones"
EPILOG = """examples:
  daypass identity rotate bot -n team --credentials-out bot.json
  daypass identity rotate bot -n team --overlap 1d        the old one works for a day
  daypass identity rotate --all -A --older-than 90d --credentials-out files

If a token may have leaked, use `daypass identity revoke`, then `create`. With --overlap, the old
token can be bound to the new Secret until it is deleted: by `daypass identity delete --expired`,
or the next rotation. Exit code 3: a gate has not published the change in time.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedIdentity:
    """An identity with new credentials, or why it has none."""

    namespace: Annotated[str, "the namespace of the identity"]
    name: Annotated[str, "its name"]
    secret: Annotated[str | None, "the Secret of the new token"] = None
    door: Annotated[str | None, "the URL of the door in the credentials file"] = None
    credentials: Annotated[str | None, "the path of the credentials file"] = None
    retired: Annotated[Sequence[str], "the Secrets of earlier tokens that still work"] = ()
    retire_after: Annotated[str | None, "from when those may be deleted (RFC 3339)"] = None
    deleted: Annotated[Sequence[str], "the Secrets of earlier tokens that were deleted"] = ()
    error: Annotated[str | None, "why it could not be rotated; null: it was"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotations:
    """What was rotated."""

    identities: Annotated[Sequence[RotatedIdentity], "the identity, or with --all each of them"]


OUTPUT = Rotations


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="the identity")
    options.add_credentials_out(
        parser,
        "default: NAME.json; - for stdout; with --all a folder, for NAMESPACE/NAME.json",
    )
    parser.add_argument(
        "--overlap",
        metavar="TIME",
        default="0",
        help="keep the old one for this time, such as 1d (default: delete it now)",
    )
    many = parser.add_argument_group("many at once")
    many.add_argument("--all", action="store_true", help="all long-lived tokens of the namespace")
    many.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    many.add_argument(
        "--older-than",
        type=parse_seconds,
        metavar="TIME",
        help="only older ones, such as 90d",
    )
    options.add_dry_run(parser)
    options.add_gate_wait(parser)
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    from daypass.identity.accounts import LONGEST_SECONDS

    overlap_seconds = parse_seconds(args.overlap, "--overlap")
    if overlap_seconds > LONGEST_SECONDS:
        raise UsageError(f"--overlap: {args.overlap} is too long", "try 1d")
    _check(args)
    with options.open_cluster(args) as cluster:
        from daypass.identity.rotate import rotate

        gates = options.gate_wait(args, cluster)
        rotations = _find(cluster, args)
        rotate(
            cluster,
            rotations,
            check=partial(_check_file, cluster, args),
            deliver=lambda name, content: write_credentials(_file(args, name), content),
            wait=gates.wait_added,
            overlap_seconds=overlap_seconds,
        )
        gates.wait_removed(secret.uid for each in rotations for secret in each.deleted)
        server = cluster.connection.server
    if args.all:
        return _report_all(args, rotations, server, gates)
    return _report(args, rotations[0], server, gates)


def _check(args: Namespace) -> None:
    if args.all:
        if args.name or args.force:
            raise UsageError("--all cannot be combined with NAME or --force", "leave one out")
        if args.credentials_out in (None, "", "-"):
            raise UsageError(
                "--all needs a folder for credentials files", "name it: --credentials-out DIR"
            )
        return
    if args.older_than is not None or args.all_namespaces:
        raise UsageError("--older-than and -A are for many identities", "add --all")
    if not args.name:
        raise UsageError("no identity is named", "name one, or --all")
    if args.credentials_out == "-" and args.output != "text":
        raise UsageError("both the credentials and the summary would go to stdout", "name a file")


def _find(cluster: Cluster, args: Namespace) -> list[Rotation]:
    from daypass.identity.accounts import IdentityName, get_identity
    from daypass.identity.credential_secrets import secrets_of
    from daypass.identity.rotate import Rotation, find_rotations

    if args.all:
        namespace = None if args.all_namespaces else cluster.namespace
        return find_rotations(cluster, namespace, older_than_seconds=args.older_than or 0)
    name = IdentityName.parse(cluster.namespace, args.name)
    secrets = [secret for secret in secrets_of(cluster, name) if secret.is_ours]
    account = get_identity(cluster, name, has_tokens=bool(secrets))
    return [Rotation(account=account, secrets=secrets)]


def _file(args: Namespace, name: IdentityName) -> str:
    """Return the path of a credentials file, or -."""
    if args.all:
        return os.path.join(args.credentials_out, name.namespace, f"{name.name}.json")
    return args.credentials_out or f"{args.name}.json"


def _check_file(cluster: Cluster, args: Namespace, name: IdentityName) -> None:
    """Check that a credentials file can be written; with --all, in a folder that is created."""
    from daypass._core.files import make_private_folder
    from daypass.identity.credentials_file import check_file

    path = _file(args, name)
    if args.all and cluster.dry_run:
        return
    if args.all:
        with suppress(OSError):  # the check of the file says what is wrong
            make_private_folder(os.path.dirname(path))
    if path != "-":
        check_file(path, name, now_unix=cluster.clock.unix(), force=args.force)


def _report(args: Namespace, rotated: Rotation, server: str, gates: GateWait) -> int:
    if rotated.error is not None:
        raise rotated.error
    path = _file(args, rotated.name)
    done = did(args.dry_run, "rotate", "rotated")
    log(
        f"{done} identity {rotated.name} at {server}: Secret {rotated.secret_name}",
        "\n".join([gates.at_gates, *_ends(args, rotated)]),
    )
    log(f"its credentials are for the door {rotated.credentials.door}")
    if path != "-":
        written = did(args.dry_run, "write", "wrote")
        is_public = rotated.secret_name.startswith(rotated.name.name + labels.ANCHOR_INFIX)
        hint = (
            "it has no secret: give it to the job" if is_public else "hand it over, then delete it"
        )
        log(f"{written} {path} (mode 0600)", hint)
        if not is_public:
            warn_of_git(path)
    write_result(args, Rotations(identities=[_output(args, rotated)]))
    return gates.exit_code


def _report_all(
    args: Namespace, rotations: Sequence[Rotation], server: str, gates: GateWait
) -> int:
    warn_of_git(args.credentials_out)
    lines = [
        f"{each.name}  "
        + ("failed" if each.error else f"{_file(args, each.name)}  {each.credentials.door}")
        + "\n"
        for each in rotations
    ]
    found = Rotations(identities=[_output(args, each) for each in rotations])
    write_result(args, found, "".join(lines))
    failed = [(each.name, each.error) for each in rotations if each.error is not None]
    done = did(args.dry_run, "rotate", "rotated")
    counted = f"{len(rotations) - len(failed)} of {len(rotations)} identities"
    log(f"{done} {counted} at {server}", gates.at_gates)
    for name, error in failed:
        log(f"{name}: {error.fact}", error.hint)
    return 1 if failed else gates.exit_code


def _output(args: Namespace, rotated: Rotation) -> RotatedIdentity:
    namespace, name = rotated.name.namespace, rotated.name.name
    if rotated.error is not None:
        return RotatedIdentity(namespace=namespace, name=name, error=rotated.error.fact)
    return RotatedIdentity(
        namespace=namespace,
        name=name,
        secret=rotated.secret_name,
        door=rotated.credentials.door,
        credentials=_file(args, rotated.name),
        retired=[secret.name for secret in rotated.retired],
        retire_after=rotated.retire_after or None,
        deleted=[secret.name for secret in rotated.deleted],
    )


def _ends(args: Namespace, rotated: Rotation) -> list[str]:
    done = did(args.dry_run, "delete", "deleted")
    end = command("identity", "delete", "--expired", "-n", rotated.name.namespace)
    until = f"until {rotated.retire_after}; after that, delete it: {end}"
    lines = [f"{each.name} works {until}" for each in rotated.retired]
    return [*lines, *(f"{done} {each.name}" for each in rotated.deleted)]
