"""Commands with commands below them: handing over to the one that is named.

The package of such a command has a module for each subcommand, imported when it is asked for, and
made as a command's own: `SUMMARY`, `EPILOG`, `add_arguments(parser)`, `run(args)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from daypass._core import hints
from daypass.cli import make_parser, put, run_parsed, say

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence


def run_subcommand(package: str, commands: Sequence[str], argv: list[str]) -> int:
    """Run the subcommand that is named, or give help; 2 where it is none of `commands`."""
    command = package.rpartition(".")[2]
    first = argv[0] if argv else ""
    if first in ("-h", "--help"):
        put(make_parser(command, importlib.import_module(package)).format_help())
        return 0
    if first in commands:
        module = importlib.import_module(f"{package}.{first}")
        return run_parsed(f"{command} {first}", module, argv[1:])
    from difflib import get_close_matches

    near = get_close_matches(first, commands, 1)
    what = "option" if first.startswith("-") else "command"
    hint = (
        f"there are: {', '.join(commands)}\n`{hints.command(command, '--help')}` says what they do"
    )
    say(
        f"`daypass {command}` has no {what} {first[:40]!r}" if first else "no command is named",
        f"did you mean `daypass {command} {near[0]}`?" if near else hint,
    )
    return 2


def describe(parser: ArgumentParser, package: str, commands: Sequence[str]) -> None:
    """For --help: which subcommands there are, and what each does."""
    width = max(map(len, commands))
    summaries = [
        f"  {name:<{width}}  {importlib.import_module(f'{package}.{name}').SUMMARY}"
        for name in commands
    ]
    parser.add_argument("command", metavar="COMMAND", help="one of those above")
    parser.description = "\n".join([f"{parser.description}\n", *summaries])
