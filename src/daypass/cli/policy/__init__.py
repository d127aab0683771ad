"""`daypass policy`: what the API server may issue. A module a subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import MissingExtraError, UsageError
from daypass.cli.options import describe, run_subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from daypass.config import Config, Policy

SUMMARY = "which tokens the API server may issue: render, apply and check its policy"
COMMANDS = ("render", "apply", "check")
EPILOG = """examples:
  daypass policy render > policy.yaml
  daypass policy apply
  daypass policy check -n team --service-account bot --lifetime 8h

`daypass policy COMMAND --help` says more.
"""
DEFAULT_CONFIG = Path("daypass.yaml")


def run_plainly(argv: list[str]) -> int:
    """Hand over to the subcommand that is named."""
    return run_subcommand(__name__, COMMANDS, argv)


def add_arguments(parser: ArgumentParser) -> None:
    """Which subcommands there are."""
    describe(parser, __name__, COMMANDS)


def add_config_option(parser: ArgumentParser) -> None:
    """--config."""
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE",
        help="the config file (default: daypass.yaml)",
    )  # fmt: skip


def load_config(path: Path) -> Config:
    """The config. Raises ConfigError, MissingExtraError."""
    try:
        from daypass.config import load
    except ModuleNotFoundError:
        raise MissingExtraError("this command", "admin") from None
    return load(path)


def load_policy(path: Path) -> Policy:
    """The policy of a config that has one. Raises UsageError where it has none."""
    config = load_config(path)
    if config.policy is None:
        audience = "YOUR-AUDIENCE" if config.gate is None else config.gate.audience
        raise UsageError(f"{path} has no policy", f"add one: policy: {{audiences: [{audience}]}}")
    return config.policy
