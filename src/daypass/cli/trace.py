"""`daypass trace`: from a token, a request or a user back to who used it."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING

from daypass._core.clock import parse_rfc3339
from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import exit_code
from daypass._core.hints import Placeholder, command
from daypass._core.text import mask_unprintable, printable
from daypass.cli import options, warn, write
from daypass.cli.output import as_text, finding_lines, write_result

if TYPE_CHECKING:
    from daypass.trace.events import Event
    from daypass.trace.search import Traced

SUMMARY = "find in logs who obtained and used a token"
EPILOG = """examples:
  daypass trace 799a2b63-6a33-4225-ab01-6e42682e7ce9 audit.log door.log gate.log
  daypass trace team/bot /var/log/kubernetes/audit*.log door.log.gz
  kubectl -n daypass logs deployment/daypass-door | daypass trace team/bot -
  daypass trace --unusual audit.log door.log gate.log
  daypass trace --audit-policy > audit-policy.yaml

WHAT is the `jti` of a token, the ID of a request or of an audit event, NAMESPACE/NAME, or a user.
Files are the logs of the door, of gates, and the API server's audit log, gzipped or not; `-` is
stdin. With --kubeconfig, --context or KUBECONFIG it looks whether the Secret of the credential
exists. Exit code 1: nothing was found; 3: something is unusual.
"""
_SHOWN = 20
"""As many lines of a kind are shown; `-o json` has 100."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="WHAT", help="a token, a request or a user")
    parser.add_argument("files", nargs="*", metavar="FILE", help="logs; - for stdin")
    unusual = "list requests past the door, identities from new sources, and sources of many"
    parser.add_argument("--unusual", action="store_true", help=unusual)
    since = "from when a source is new (RFC 3339; default: the middle of the logs)"
    parser.add_argument("--since", metavar="TIME", help=since)
    many = "how many identities of one source are usual (default: 5)"
    parser.add_argument("--many", type=int, default=5, metavar="N", help=many)
    policy = "print an audit policy for the API server that logs what this needs"
    parser.add_argument("--audit-policy", action="store_true", help=policy)
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print what was found; return 3 if something is unusual. Raises DaypassError if nothing is."""
    from daypass.trace.search import Logs

    if args.audit_policy:
        text = (files("daypass.trace") / "audit-policy.yaml").read_text()
        if args.output == "json":
            import yaml

            text = as_text(yaml.safe_load(text), args.output)
        write(text)
        return 0
    what = "" if args.unusual else args.what
    named = [args.what, *args.files] if args.unusual and args.what else args.files
    if not named:
        example = "--unusual" if args.unusual else what or Placeholder("WHAT")
        hint = f"write: {command('trace', example, Placeholder('FILE'))}"
        raise UsageError("no logs are named", hint)
    since = parse_rfc3339(args.since or "")
    if args.since is not None and since is None:
        raise UsageError(f"--since: {args.since[:40]!r} is no time", "try 2026-11-24T16:00:00Z")
    logs = Logs(what)
    logs.read(named)
    if args.unusual:
        from daypass.trace.unusual import review

        reviewed = review(logs, named, since=since, many=args.many)
        found = "".join(finding_lines(each, 15) for each in reviewed.findings)
        write_result(args, reviewed, (found or "nothing unusual\n") + _lines((), reviewed.notes))
        return exit_code(reviewed.findings)
    traced = logs.result()
    if not traced.lines:
        hint = "\n".join(["name the logs of door, gate and API server of that time", *traced.notes])
        raise DaypassError(f"these logs have nothing about {printable(what, 80)}", hint)
    if args.kubeconfig or args.context or os.environ.get("KUBECONFIG"):
        _look_for_secrets(args, traced.credentials)
    write_result(args, traced, _text(traced))
    return 0


def _look_for_secrets(args: Namespace, credentials: dict[str, bool | None]) -> None:
    from daypass.kube.resources import SECRETS

    try:
        with options.open_cluster(args) as cluster:
            for credential in credentials:
                kind, _, path = credential.partition(" ")
                namespace, _, name = path.partition("/")
                if kind == "Secret":
                    found = cluster.find(SECRETS, name, namespace, metadata_only=True)
                    credentials[credential] = found is not None
    except DaypassError as error:
        warn(error.fact, error.hint)


def _text(traced: Traced) -> str:
    from daypass.trace.search import NO_DOOR_LOG, PAST_THE_DOOR

    state = {None: "it is not known whether it exists", True: "exists", False: "does not exist"}
    doors = {line.client for line in traced.lines if line.part == "door" and not line.is_refused}
    sources = [
        f"{each.source or 'unknown'}: {each.requests}, of which refused: {each.refused}; "
        f"{_short(each.first) or 'never passed'}, last {_short(each.last)}"
        + ("" if each.source in doors or not doors else "; the token was not obtained there")
        for each in traced.sources
    ]
    parts = {
        "lines": [*map(_line, traced.lines)],
        "requests by source": sources,
        "credentials": [f"{each}: {state[it]}" for each, it in traced.credentials.items()],
        "other tokens of the same credentials": [*map(_line, traced.others)],
    }
    past = any(it.reason == PAST_THE_DOOR for it in (*traced.lines, *traced.others))
    if past and NO_DOOR_LOG not in traced.notes:
        revoke = command("identity", "revoke", Placeholder("NAME"), "-n", Placeholder("NAMESPACE"))
        parts["next"] = [f"a token came past the door: if that was not you, {revoke}"]
    lines = list[str]()
    for heading, found in parts.items():
        lines += [heading, *(f"  {each}" for each in found[-_SHOWN:])] if found else []
    return _lines(lines, traced.notes)


def _line(event: Event) -> str:
    details = (
        event.reason or ("passed" if event.part == "gate" else ""),
        event.jti and f"token {event.jti}",
        event.request and f"request {event.request}",
        event.audit and f"audit event {event.audit}",
        event.account and f"of {event.account}",
        event.credential and f"with {event.credential}",
        event.target,
    )
    start = f"{_short(event.time):<23}  {event.part:<10}  {event.client:<15}  {event.code or '':<3}"
    return f"{start}  {', '.join(filter(None, details))}"


def _short(time: str) -> str:
    return time[:23].removesuffix("Z")


def _lines(lines: Iterable[str], notes: Iterable[str]) -> str:
    every = (*lines, *(f"note: {each}" for each in notes))
    return "".join(f"{mask_unprintable(line)}\n" for line in every)
