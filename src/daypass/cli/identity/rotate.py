"""`daypass identity rotate`: a new long-lived token, before the old one is revoked."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass._core.duration import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.cli import log, options, write
from daypass.cli.gate_wait import GateWait
from daypass.cli.output import did, warn_of_git, write_result
from daypass.cli.progress import progress

if TYPE_CHECKING:
    from daypass.cli.output_data import Rotated, RotationFailed
    from daypass.identity.rotate import Rotation, RotationOutcome
    from daypass.kube.cluster import Cluster

EXTRA = "admin"
SUMMARY = "give an identity a new long-lived token, and retire the old one"
EPILOG = """examples:
  daypass identity rotate bot -n team --credentials-out bot.json
  daypass identity rotate bot -n team --overlap 0                   revokes the old one now
  daypass identity rotate --all -A --older-than 90d --credentials-out files

If a token may have leaked, use `daypass identity revoke`, then `create`. The old token is deleted
by `daypass identity reap`, or by the next rotation after its time. Exit code 3: a gate of the
cluster has not published the change in time.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="the identity")
    options.add_credentials_out(
        parser,
        "the credentials file to write (default: NAME.json); - for stdout; with --all a folder, for"
        " NAMESPACE/NAME.json",
    )
    parser.add_argument("--force", action="store_true", help="replace any FILE that is there")
    parser.add_argument(
        "--overlap", metavar="TIME", default="1d",
        help="how long the old one is not deleted (default: 1d); 0: it is deleted now",
    )  # fmt: skip
    many = parser.add_argument_group("many at once")
    many.add_argument("--all", action="store_true", help="all identities of the namespace")
    many.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    many.add_argument(
        "--older-than", type=parse_seconds, metavar="TIME",
        help="only those whose token is older, such as 90d",
    )  # fmt: skip
    options.add_dry_run(parser)
    options.add_gate_wait(parser)
    options.add_output(parser, "the format of the summary (default: text)")
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Rotate one identity, or many."""
    from daypass.identity.model import LONGEST_SECONDS

    overlap_seconds = parse_seconds(args.overlap, "--overlap")
    if overlap_seconds > LONGEST_SECONDS:
        raise UsageError(f"--overlap: {args.overlap} is too long", "try 1d, or 0")
    _check(args)
    with options.open_cluster(args) as cluster:
        if args.all:
            return _rotate_all(cluster, args, overlap_seconds)
        return _rotate_one(cluster, args, overlap_seconds)


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


def _rotate_one(cluster: Cluster, args: Namespace, overlap_seconds: int) -> int:
    from daypass.identity.credentials_file import check_file, write_file
    from daypass.identity.model import IdentityName, get_identity
    from daypass.identity.rotate import rotate
    from daypass.identity.tokens import live_secrets, token_secrets

    name = IdentityName.parse(cluster.namespace, args.name)
    path = args.credentials_out or f"{args.name}.json"
    secrets = [secret for secret in token_secrets(cluster, name) if secret.is_ours]
    account = get_identity(cluster, name, has_tokens=bool(secrets))
    if path != "-" and live_secrets(secrets, account.uid):  # without one, `rotate` says why
        check_file(path, name, now_unix=cluster.clock.unix(), force=args.force)
    gates = GateWait(args, cluster)
    rotated = rotate(
        cluster,
        account,
        secrets,
        deliver=lambda content: (
            write(content.decode()) if path == "-" else write_file(path, content)
        ),
        wait=gates.there,
        overlap_seconds=overlap_seconds,
    )
    gates.gone(rotated.uids)
    done = did(args.dry_run, "rotate", "rotated")
    there = f"{name} at {cluster.connection.server}"
    lines = filter(None, (gates.at_gates, *_ends(args, rotated)))
    log(f"{done} identity {there}: Secret {rotated.secret_name}", "\n".join(lines))
    log(f"its credentials are for the door {rotated.door}")
    if path != "-":
        written = did(args.dry_run, "write", "wrote")
        log(f"{written} {path} (mode 0600)", "hand it over, then delete it")
        warn_of_git(path)
    write_result(args, _document(args, rotated, path))
    return gates.exit_code


def _rotate_all(cluster: Cluster, args: Namespace, overlap_seconds: int) -> int:
    from daypass.identity.rotate import find_targets, rotate_all

    namespace = None if args.all_namespaces else cluster.namespace
    folder, older_than = args.credentials_out, args.older_than or 0
    gates = GateWait(args, cluster)
    with progress(args, "reading identities") as status:
        targets, room = find_targets(cluster, namespace, older_than_seconds=older_than)
        outcomes = rotate_all(
            cluster, targets, folder, room=room, wait=gates.there, show=status.show,
            overlap_seconds=overlap_seconds,
        )  # fmt: skip
        gates.gone(uid for each in outcomes if each.rotated for uid in each.rotated.uids)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    warn_of_git(folder)
    lines = [
        f"{o.name}  " + (f"{o.file}  {o.rotated.door}\n" if o.rotated else "failed\n")
        for o in outcomes
    ]
    write_result(args, [_summary(args, outcome) for outcome in outcomes], "".join(lines))
    done = did(args.dry_run, "rotate", "rotated")
    counted = f"{len(outcomes) - len(failed)} of {len(outcomes)} identities"
    log(f"{done} {counted} at {cluster.connection.server}", gates.at_gates)
    for outcome in failed:
        if outcome.error is not None:
            log(f"{outcome.name}: {outcome.error.fact}", outcome.error.hint)
    return 1 if failed else gates.exit_code


def _summary(args: Namespace, outcome: RotationOutcome) -> Rotated | RotationFailed:
    if outcome.rotated is not None:
        return _document(args, outcome.rotated, outcome.file)
    return {
        "namespace": outcome.name.namespace, "name": outcome.name.name, "dryRun": args.dry_run,
        "error": outcome.error.fact if outcome.error else "",
    }  # fmt: skip


def _document(args: Namespace, rotated: Rotation, file: str) -> Rotated:
    return {
        "dryRun": args.dry_run,
        "namespace": rotated.name.namespace,
        "name": rotated.name.name,
        "secret": rotated.secret_name,
        "door": rotated.door,
        "credentials": file,
        "retired": list(rotated.retired),
        "retireAfter": rotated.retire_after or None,
        "deleted": list(rotated.deleted),
        "error": None,
    }


def _ends(args: Namespace, rotated: Rotation) -> list[str]:
    done = did(args.dry_run, "delete", "deleted")
    reap = command("identity", "reap", "-n", rotated.name.namespace)
    when = f"from {rotated.retire_after} on: by `{reap}`, or the next rotation"
    lines = [f"{each} may be deleted {when}" for each in rotated.retired]
    return [*lines, *(f"{done} {each}" for each in rotated.deleted)]
