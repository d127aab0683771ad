"""`daypass help`: the commands, or one of them."""

import importlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from daypass import cli
from daypass.cli import parser as command_line
from daypass.cli.console import write
from daypass.cli.parser import parser_of

EXTRA = None
SUMMARY = "describe the commands, or one of them"
EPILOG = """examples:
  daypass help token
  daypass help identity create
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="such as `identity create`")


def run(args: Namespace) -> int:
    write(help_text(args.command))
    return 0


def help_text(words: Sequence[str]) -> str:
    """Return the help of the command that these words name; of daypass without words.

    Raises UsageError if there is no such command.
    """
    if not words:
        return _help()
    return parser_of(words, cli.COMMANDS).format_help()


def _help() -> str:
    lines = ["usage: daypass COMMAND [OPTIONS]"]
    for heading, names in cli.GROUPS.items():
        lines += ["", f"{heading}:"]
        lines += [
            f"  {name:<16} {importlib.import_module(cli.COMMANDS[name]).SUMMARY}" for name in names
        ]
    return "\n".join([*lines, "", command_line.EPILOG])
