"""Command lines that `argparse` reads: commands, groups of them, help, and mistyped names."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from daypass._core.errors import MissingExtraError, UsageError
from daypass._core.hints import command
from daypass._core.text import suggest

HELP = ("-h", "--help")


def run_command(name: str, module: Any, arguments: list[str]) -> int:
    """Parse a command line and run the command's module; `name` is `token` or `gate serve`.

    Raises MissingExtraError if a library of the module's EXTRA is not installed.
    """
    args = make_parser(name, module).parse_args(arguments)
    try:
        code: int = module.run(args)
    except ModuleNotFoundError as error:
        extra: str | None = getattr(module, "EXTRA", None)
        if extra is None or (error.name or "").startswith("daypass"):
            raise
        raise MissingExtraError(f"`daypass {name}`", extra) from error
    return code


def find_subcommand(name: str, package: Any, arguments: list[str]) -> tuple[str, Any, list[str]]:
    """Return the command of a group that is named first: name, module and its own arguments.

    Raises UsageError if there is none.
    """
    first = arguments[0] if arguments else ""
    if first not in package.COMMANDS:
        raise _unknown(f"daypass {name}", first, package.COMMANDS)
    module = importlib.import_module(f"{package.__name__}.{first}")
    return f"{name} {first}", module, arguments[1:]


def top_level_text(first: str, commands: Mapping[str, str]) -> str:
    """Return the help or the version if the first word asks for it. Raises UsageError."""
    if first in HELP:
        return _help(commands)
    if first in ("-V", "--version"):
        from daypass._core import VERSION

        return f"daypass {VERSION}\n"
    if first:
        raise _unknown("daypass", first, commands)
    raise UsageError("no command is named", _help(commands).rstrip())


def make_parser(name: str, module: Any) -> argparse.ArgumentParser:
    """Return the parser of a command or, for its help, of a group."""
    parser = argparse.ArgumentParser(
        prog=f"daypass {name}",
        description=module.SUMMARY,
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if hasattr(module, "COMMANDS"):
        parser.description = "\n".join([f"{module.SUMMARY}\n", *_summaries(module)])
        parser.add_argument("command", metavar="COMMAND", help="one of those above")
    else:
        module.add_arguments(parser)
    return parser


def _summaries(package: Any) -> list[str]:
    width = max(map(len, package.COMMANDS))
    return [
        f"  {name:<{width}}  {importlib.import_module(f'{package.__name__}.{name}').SUMMARY}"
        for name in package.COMMANDS
    ]


def _help(commands: Mapping[str, str]) -> str:
    lines = [
        f"  {name:<16} {importlib.import_module(home).SUMMARY}" for name, home in commands.items()
    ]
    usage = "usage: daypass COMMAND [OPTIONS]"
    return "\n".join([usage, "", *lines, "", "daypass COMMAND --help; daypass --version", ""])


def _unknown(program: str, word: str, known: Iterable[str]) -> UsageError:
    near = suggest(word, known)
    what = "option" if word.startswith("-") else "command"
    line = command(*program.split()[1:], "--help")
    return UsageError(
        f"`{program}` has no {what} {word[:40]!r}" if word else "no command is named",
        f"did you mean `{program} {near}`?"
        if near
        else f"`{line}` describes the commands: {', '.join(known)}",
    )
