"""Every command of daypass, with its parser."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from daypass.cli import COMMANDS
from daypass.cli.parser import Parser, make_parser


def command_parsers(
    commands: Mapping[str, str] = COMMANDS, above: tuple[str, ...] = ()
) -> dict[tuple[str, ...], Parser]:
    """The parsers of commands, groups and their commands, by the words that lead to them."""
    found: dict[tuple[str, ...], Parser] = {}
    for name, home in commands.items():
        path, module = (*above, name), import_module(home)
        found[path] = make_parser(" ".join(path), module)
        below = {each: f"{home}.{each}" for each in getattr(module, "COMMANDS", ())}
        found |= command_parsers(below, path)
    return found


def writing_commands() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The commands with --dry-run, and its values."""
    options = {
        path: parser._option_string_actions.get("--dry-run")
        for path, parser in command_parsers().items()
    }
    return {path: tuple(option.choices or ()) for path, option in options.items() if option}
