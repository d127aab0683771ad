"""`daypass identity`: who may come from outside. A file a subcommand, imported when asked for.

A subcommand's module is as a command's: `SUMMARY`, `EPILOG`, `add_arguments(parser)`, `run(args)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from daypass.cli import run_parsed

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "identities for clients outside the cluster: make, list, rotate, end them"
COMMANDS = (
    "create", "list", "show", "authorize", "unauthorize", "rotate", "revoke", "reap", "delete",
    "federate",
)  # fmt: skip
EPILOG = """examples:
  daypass identity create bot -n team --config daypass.yaml -o bot.json
  daypass identity list -A
  daypass identity rotate bot -n team -o bot.json

`daypass identity COMMAND --help` says more.
"""


def run_plainly(argv: list[str]) -> int | None:
    """Hand over to the subcommand that is named; None for any other command line."""
    if argv and argv[0] in COMMANDS:
        module = importlib.import_module(f"daypass.cli.identity.{argv[0]}")
        return run_parsed(f"identity {argv[0]}", module, argv[1:])
    return None


def add_arguments(parser: ArgumentParser) -> None:
    """Which subcommands there are."""
    commands = [
        f"{name:<12} {importlib.import_module(f'{__name__}.{name}').SUMMARY}" for name in COMMANDS
    ]
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those above")
    parser.description = "\n".join([f"{SUMMARY}\n", *(f"  {each}" for each in commands)])


def run(args: Namespace) -> int:
    """The subcommand alone, as in `daypass identity -- list`."""
    return run_plainly([args.command]) or 0
