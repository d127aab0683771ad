"""`daypass gate deny`: refuse a token, an object's tokens, or a namespace's at the gate."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import UsageError
from daypass._core.hints import Placeholder, command, kubectl
from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.gate import load_gates, read_token
from daypass.cli.output import did

if TYPE_CHECKING:
    from daypass.kube.cluster import Cluster
    from daypass.rules.published import Denial

SUMMARY = "refuse one token, or all of an object or a namespace, from now on"
EPILOG = """examples:
  daypass gate deny --token-file stolen                     until that token expires
  daypass gate deny --jti 0b2c8d0e-5d0f-4d8e-9b1a-6a52f1c0a0c4
  daypass gate deny --uid 7d3f... --until 2027-01-31T12:00:00Z
  daypass gate deny --of-namespace team

ConfigMap daypass-denied in the door's namespace holds it, for all gates. A denied token still works
at the API server: `daypass identity revoke` revokes it everywhere. Exit code 3: the gate has not
published it in time.
"""
DENIED = {
    "jti": "token {}",
    "uid": "every token bound to {}",
    "namespace": "every token of namespace {}",
}
"""What each kind of denial refuses."""


def add_arguments(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--token-file", metavar="FILE", help="this short-lived token; - for stdin")
    what.add_argument("--jti", metavar="JTI", help="the token with this ID, as in logs")
    what.add_argument("--uid", metavar="UID", help="all tokens bound to this object")
    what.add_argument("--of-namespace", metavar="NS", help="all tokens of this namespace")
    parser.add_argument(
        "--until",
        type=_time,
        metavar="TIME",
        help="such as 2027-01-31T12:00:00Z (default: when these tokens expire)",
    )
    parser.add_argument("--undo", action="store_true", help="remove an earlier denial")
    options.add_dry_run(parser)
    options.add_gate_wait(parser)
    options.add_config(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    from daypass.rules.claims import SKEW_SECONDS

    config = load_gates(args.config)
    now = SYSTEM_CLOCK.unix()
    denial = _denial(args, now + config.longest_lifetime_seconds + SKEW_SECONDS)
    if denial.until_unix <= now and not args.undo:
        raise UsageError(f"{denial.until} is in the past", "there is nothing left to deny")
    namespace = config.door.namespace
    with options.open_cluster(args) as cluster:
        from daypass.gate.deny import change_denial
        from daypass.gate.publication import require_gate

        if config.cluster_gates:
            require_gate(cluster, namespace)
        if denial.kind == "namespace" and not args.undo:
            _warn_if_missing(cluster, denial.name)
        change_denial(cluster, namespace, denial, undo=args.undo)
        gates = options.gate_wait(args, cluster, namespace)
        gates.wait_denied(denial, undo=args.undo)
    named = f"{DENIED[denial.kind].format(denial.name)} at {cluster.connection.server}"
    if len(config.gates) > 1:
        named = f"{named}, gates {', '.join(config.gates)}"
    if args.undo:
        log(f"{did(args.dry_run, 'remove', 'removed')} the denial of {named}", gates.at_gates)
    else:
        option = "--of-namespace" if denial.kind == "namespace" else f"--{denial.kind}"
        undo = command("gate", "deny", option, denial.name, "--undo")
        done = did(args.dry_run, "deny", "denied")
        log(f"{done} {named} until {denial.until}", f"{gates.at_gates}\nundo it with: {undo}")
    return gates.exit_code


def _warn_if_missing(cluster: Cluster, namespace: str) -> None:
    from daypass.kube.errors import ForbiddenError
    from daypass.kube.resources import NAMESPACES

    with suppress(ForbiddenError):
        if cluster.find(NAMESPACES, namespace) is None:
            see = f"see all: {kubectl('get', 'namespaces')}"
            warn(f"the cluster has no namespace {namespace}", see)


def _denial(args: Namespace, otherwise_unix: float) -> Denial:
    from daypass.rules.published import Denial, DeniedKind

    named = {"jti": args.jti, "uid": args.uid, "namespace": args.of_namespace}
    if args.token_file is not None:
        named["jti"], otherwise_unix = _read_claims(args.token_file)
    ((kind, name),) = [pair for pair in named.items() if pair[1] is not None]
    until_unix = otherwise_unix if args.until is None else args.until
    return Denial(kind=DeniedKind(kind), name=name, until_unix=until_unix)


def _read_claims(file: str) -> tuple[str, float]:
    """Return the `jti` of a token, and when the gate refuses it for its age."""
    from daypass._core.jwt import decode_unverified
    from daypass.rules.claims import SKEW_SECONDS

    claims = decode_unverified(read_token(file))[1]
    jti, ends = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not isinstance(ends, int):
        raise UsageError(
            "this is not a short-lived token: it has no `jti` or no expiry",
            "a long-lived one is revoked with its Secret: "
            + command("identity", "revoke", Placeholder("NAME"), "-n", Placeholder("NAMESPACE")),
        )
    return jti, ends + SKEW_SECONDS


def _time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is not a time", "such as 2027-01-31T12:00:00Z") from None
    return time.replace(tzinfo=time.tzinfo or UTC).timestamp()
