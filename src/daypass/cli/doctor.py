"""`daypass doctor`: what is wrong on this machine, or with these credentials."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from daypass._core.findings import Finding, exit_code
from daypass.cli import options, with_options
from daypass.cli.console import paint, write
from daypass.cli.output import as_text, finding_lines

EXTRA = None
SUMMARY = "find out why there is no token, or why a gate refuses it"
EPILOG = """examples:
  daypass doctor
  daypass doctor --gate https://kubeflow.example.com/pipeline/
  daypass doctor --credentials bot.json --audience gate.example.com

It needs no kubeconfig, takes 10 seconds at most, and changes nothing. The
long-lived token is sent only to its door, short-lived ones only to the URL of --gate.
Exit code 3: there is a problem; below it is what to do next.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """What is wrong on a machine, or with credentials."""

    findings: Annotated[Sequence[Finding], "what each step found; skipped: it was not tried"]


OUTPUT = Diagnosed
_WIDTH = len("credentials")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--gate", metavar="URL", help="what your program calls: send a new token there"
    )
    parser.add_argument("--audience", metavar="A", help="the token's audience")
    options.add_credentials(parser)
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Print what each step finds; return 0, or 3 if there is a problem."""
    from daypass.client.door import check_audience
    from daypass.client.transport import SYSTEM_TIMING, Deadline
    from daypass.verification.diagnosis import LIMIT_SECONDS, Diagnosis, GateUrl, diagnose

    case = Diagnosis(
        path=args.credentials,
        audience=None if args.audience is None else check_audience(args.audience),
        gate=None if args.gate is None else GateUrl.parse(args.gate),
        timing=SYSTEM_TIMING,
        deadline=Deadline(SYSTEM_TIMING.clock, LIMIT_SECONDS),
    )
    found = []
    for each in diagnose(case):
        found.append(replace(each, hint=with_options(each.hint)))
        if args.output == "text":
            write(finding_lines(found[-1], _WIDTH, paint))
    if args.output != "text":
        write(as_text(Diagnosed(findings=found), args.output))
    return exit_code(found)
