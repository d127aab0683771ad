"""`daypass trace`: from a token, a request or a user back to who used it."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import Placeholder, command
from daypass._core.text import mask_unprintable, printable
from daypass.cli import options
from daypass.cli.console import warn, write
from daypass.cli.output import as_text, write_result
from daypass.trace.search import NO_DOOR_LOG, PAST_THE_DOOR, Logs, Traced

if TYPE_CHECKING:
    from daypass.trace.events import Event

SUMMARY = "find in logs who obtained and used a token"
EPILOG = """examples:
  daypass trace 799a2b63-6a33-4225-ab01-6e42682e7ce9 audit.log door.log gate.log
  daypass trace team/bot /var/log/kubernetes/audit*.log door.log.gz
  kubectl -n daypass logs deployment/daypass-door | daypass trace team/bot -
  daypass trace --audit-policy > audit-policy.yaml

WHAT is the `jti` of a token, the ID of a request or of an audit event, NAMESPACE/NAME, or a user.
Files are the logs of door and gates, and the API server's audit log, gzipped or not. With a cluster
it looks whether the credential's Secret exists. Exit code 1: nothing was found.
"""
OUTPUT = Traced | dict[str, Any]
_SHOWN = 20
"""As many lines of a kind are shown; `-o json` has 100."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="WHAT", help="a token, a request or a user")
    parser.add_argument("files", nargs="*", metavar="FILE", help="logs; - for stdin")
    policy = "print an audit policy for the API server that logs what this needs"
    parser.add_argument("--audit-policy", action="store_true", help=policy)
    options.add_output(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Print what was found. Raises DaypassError if nothing is."""
    if args.audit_policy:
        text = (files("daypass.trace") / "audit-policy.yaml").read_text()
        if args.output == "json":
            import yaml

            text = as_text(yaml.safe_load(text), args.output)
        write(text)
        return 0
    if not args.files:
        hint = f"write: {command('trace', args.what or Placeholder('WHAT'), Placeholder('FILE'))}"
        raise UsageError("no logs are named", hint)
    logs = Logs(args.what)
    logs.read(args.files)
    traced = logs.result()
    if not traced.lines:
        hint = "\n".join(["name the logs of door, gate and API server of that time", *traced.notes])
        raise DaypassError(f"these logs have nothing about {printable(args.what, 80)}", hint)
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
    state = {None: "it is not known whether it exists", True: "exists", False: "does not exist"}
    doors = {
        line.client for line in traced.lines if line.component == "door" and not line.is_refused
    }
    sources = [
        f"{each.source or 'unknown'}: {each.requests}, of which refused: {each.refused}; "
        f"{_short(each.first) or 'never passed'}, last {_short(each.last)}"
        + ("" if each.source in doors or not doors else "; the token was not obtained there")
        for each in traced.sources
    ]
    sections = {
        "lines": [*map(_line, traced.lines)],
        "requests by source": sources,
        "credentials": [f"{each}: {state[it]}" for each, it in traced.credentials.items()],
        "other tokens of the same credentials": [*map(_line, traced.others)],
    }
    past = any(it.reason == PAST_THE_DOOR for it in (*traced.lines, *traced.others))
    if past and NO_DOOR_LOG not in traced.notes:
        revoke = command("identity", "revoke", Placeholder("NAME"), "-n", Placeholder("NAMESPACE"))
        sections["next"] = [f"a token came past the door: if that was not you, {revoke}"]
    lines = list[str]()
    for heading, found in sections.items():
        lines += [heading, *(f"  {each}" for each in found[-_SHOWN:])] if found else []
    every = (*lines, *(f"note: {each}" for each in traced.notes))
    return "".join(f"{mask_unprintable(line)}\n" for line in every)


def _line(event: Event) -> str:
    details = (
        event.reason or ("passed" if event.component == "gate" else ""),
        event.jti and f"token {event.jti}",
        event.request and f"request {event.request}",
        event.audit and f"audit event {event.audit}",
        event.account and f"of {event.account}",
        event.credential and f"with {event.credential}",
        event.target,
    )
    start = f"{_short(event.time):<23}  {event.component:<10}  {event.client:<15}"
    code = f"{event.code or '':<3}"
    return f"{start}  {code}  {', '.join(filter(None, details))}"


def _short(time: str) -> str:
    return time[:23].removesuffix("Z")
