"""`daypass identity`: who may come from outside. A module a subcommand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass.cli.options import describe, run_subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser

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


def run_plainly(argv: list[str]) -> int:
    """Hand over to the subcommand that is named."""
    return run_subcommand(__name__, COMMANDS, argv)


def add_arguments(parser: ArgumentParser) -> None:
    """Which subcommands there are."""
    describe(parser, __name__, COMMANDS)
