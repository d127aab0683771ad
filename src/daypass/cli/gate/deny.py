"""`daypass gate deny`: refuse a token, a Secret or a ServiceAccount at the gate."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from daypass._core.errors import UsageError
from daypass._core.hints import Placeholder, command
from daypass.cli import log, options
from daypass.cli.gate import load_gate, read_token
from daypass.cli.output import did, write_result
from daypass.cli.publish_revocation import update_gate

if TYPE_CHECKING:
    from daypass.gate.revocation.revocation_list import Denial

EXTRA = "admin"
SUMMARY = "refuse one token, or all that are bound to an object, from now on"
EPILOG = """examples:
  daypass gate deny --token-file stolen                     until that token expires
  daypass gate deny --jti 0b2c8d0e-5d0f-4d8e-9b1a-6a52f1c0a0c4
  daypass gate deny --uid 7d3f... --until 2027-01-31T12:00:00Z

It is written to ConfigMap daypass-denied in the door's namespace, which every gate that reads the
cluster watches. A denied token still works at the API server: to revoke it everywhere, delete its
Secret (`daypass identity revoke`).
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--token-file", metavar="FILE", help="this short-lived token; - for stdin")
    what.add_argument("--jti", metavar="JTI", help="the token with this `jti`, as shown in logs")
    what.add_argument("--uid", metavar="UID", help="all tokens bound to the object with this UID")
    parser.add_argument(
        "--until", type=_time, metavar="TIME",
        help="such as 2027-01-31T12:00:00Z (default: when the last of these tokens expires)",
    )  # fmt: skip
    parser.add_argument("--undo", action="store_true", help="remove an earlier denial")
    options.add_dry_run(parser)
    options.add_output(parser)
    options.add_config(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Add or remove the entry."""
    config, _ = load_gate(args.config)
    now = SYSTEM_CLOCK.unix()
    denial = _denial(args, now + config.longest_lifetime_seconds)
    if denial.until_unix <= now and not args.undo:
        raise UsageError(
            f"{_shown(denial.until_unix)} is in the past", "there is nothing left to deny"
        )
    namespace = config.door.namespace
    with options.open_cluster(args) as cluster:
        from daypass.gate.revocation.deny_list import change_denial
        from daypass.render.objects import GATE_DENIED

        key = change_denial(cluster, namespace, denial, undo=args.undo)
        is_published = update_gate(cluster, namespace)
    until = None if args.undo else _shown(denial.until_unix)
    write_result(args, {
        "namespace": namespace, "configMap": GATE_DENIED, "key": key, "until": until,
        "dryRun": args.dry_run,
    })  # fmt: skip
    named = f"{'token' if denial.is_token else 'every token bound to'} {denial.name}"
    if until is None:
        log(f"{did(args.dry_run, 'remove', 'removed')} the denial of {named}")
    else:
        undo = command(
            "gate", "deny", "--jti" if denial.is_token else "--uid", denial.name, "--undo",
            *options.target_options(args),
        )  # fmt: skip
        done = did(args.dry_run, "deny", "denied")
        log(f"{done} {named} until {until}", f"undo it with: {undo}")
    return 0 if is_published else 3


def _denial(args: Namespace, otherwise_unix: float) -> Denial:
    from daypass._core.jwt import decode_unverified
    from daypass.gate.revocation.revocation_list import Denial

    until: float = otherwise_unix if args.until is None else args.until
    if args.token_file is None:
        name = args.uid if args.jti is None else args.jti
        return Denial(is_token=args.jti is not None, name=name, until_unix=until)
    claims = decode_unverified(read_token(args.token_file))[1]
    jti, ends = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not isinstance(ends, int):
        raise UsageError(
            "this is not a short-lived token: it has no `jti` or no expiry",
            "a long-lived one is revoked with its Secret: "
            + command("identity", "revoke", Placeholder("NAME"), "-n", Placeholder("NAMESPACE")),
        )
    if args.until is None:
        from daypass.gate.decision import SKEW_SECONDS

        until = ends + SKEW_SECONDS
    return Denial(is_token=True, name=jti, until_unix=until)


def _time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is not a time", "such as 2027-01-31T12:00:00Z") from None
    return time.replace(tzinfo=time.tzinfo or UTC).timestamp()


def _shown(unix: float) -> str:
    return rfc3339(utc(unix))
