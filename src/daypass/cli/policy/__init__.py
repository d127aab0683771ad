"""`daypass policy`: what the API server may issue. A file a subcommand, imported when asked for.

A subcommand's module is like a command's: SUMMARY, EPILOG, add_arguments(parser), run(args).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import MissingExtraError, UsageError
from daypass.cli import _run_parsed

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.spec import Config, Policy

SUMMARY = "which tokens the API server may issue: render, apply and check its policy"
COMMANDS = ("render", "apply", "check")
EPILOG = """examples:
  daypass policy render > policy.yaml
  daypass policy apply
  daypass policy check -n team --service-account bot --lifetime 8h

`daypass policy COMMAND --help` says more.
"""
DEFAULT_CONFIG = Path("daypass.yaml")


def run_plainly(argv: list[str]) -> int | None:
    """Hand over to the subcommand that is named; None for any other command line."""
    if argv and argv[0] in COMMANDS:
        module = importlib.import_module(f"daypass.cli.policy.{argv[0]}")
        return _run_parsed(f"policy {argv[0]}", module, argv[1:])
    return None


def add_arguments(parser: ArgumentParser) -> None:
    """Which subcommands there are."""
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="|".join(COMMANDS))


def run(args: Namespace) -> int:
    """The subcommand alone, as in `daypass policy -- apply`."""
    return run_plainly([args.command]) or 0


def add_config_option(parser: ArgumentParser) -> None:
    """--config."""
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE",
        help="the config file (default: daypass.yaml)",
    )  # fmt: skip


def load_config(path: Path) -> Config:
    """The config. Raises ConfigError, MissingExtraError."""
    try:
        from daypass.spec import load
    except ModuleNotFoundError:
        raise MissingExtraError("this command", "admin") from None
    return load(path)


def load_policy(path: Path) -> Policy:
    """The policy of a config that has one. Raises UsageError where it has none."""
    policy = load_config(path).policy
    if policy is None:
        raise UsageError(f"{path} has no policy", "add one: policy: {audiences: [YOUR-AUDIENCE]}")
    return policy
