"""`daypass gate`: why a token passes or not, and revoking one now. A module a subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import DaypassError, UsageError
from daypass.cli.options import describe, run_subcommand
from daypass.cli.policy import load_config

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from daypass.config import Config, Gate

SUMMARY = "the check in front of the APIs: why a token passes or not, and revoking one now"
COMMANDS = ("serve", "watch", "explain", "deny")
EPILOG = """examples:
  daypass gate serve
  daypass gate watch
  daypass gate explain --token-file token --host ekf.example.com
  daypass gate deny --token-file stolen

`daypass gate COMMAND --help` says more.
"""
LIMIT_CHARACTERS = 64 * 1024


def run_plainly(argv: list[str]) -> int:
    """Hand over to the subcommand that is named."""
    return run_subcommand(__name__, COMMANDS, argv)


def add_arguments(parser: ArgumentParser) -> None:
    """Which subcommands there are."""
    describe(parser, __name__, COMMANDS)


def load_gate(path: Path) -> tuple[Config, Gate]:
    """A config that has a gate, and the gate. Raises UsageError where it has none."""
    config = load_config(path)
    if config.gate is None:
        raise UsageError(f"{path} has no gate", "add one: gate: {audience: YOUR-AUDIENCE}")
    return config, config.gate


def read_token(file: str) -> str:
    """The token in a file, or on stdin for `-`. Raises DaypassError where it cannot be read."""
    try:
        with open(0 if file == "-" else file, encoding="ascii", closefd=file != "-") as opened:
            return opened.read(LIMIT_CHARACTERS).strip()
    except OSError as error:
        raise DaypassError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise DaypassError(f"{file} is no token: it holds other characters than ASCII") from None
