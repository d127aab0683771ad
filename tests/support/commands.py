"""The commands that write."""

from __future__ import annotations

from tools.reference.commands import command_parsers


def writing_commands() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The commands with --dry-run, and its values."""
    options = {
        path: parser._option_string_actions.get("--dry-run")
        for path, parser in command_parsers().items()
    }
    return {path: tuple(option.choices or ()) for path, option in options.items() if option}
