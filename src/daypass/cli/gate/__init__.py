"""`daypass gate`: serve and watch the gate, explain its decisions, revoke a token immediately."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass._core.files import read_text
from daypass._core.net import parse_listen
from daypass.cli import options

if TYPE_CHECKING:
    from daypass.config import Config

SUMMARY = "check tokens in front of the APIs, and refuse one now"
COMMANDS = ("serve", "watch", "explain", "deny")
EPILOG = """examples:
  daypass gate serve
  daypass gate watch
  daypass gate explain --token-file token --host kubeflow.example.com
  daypass gate deny --token-file stolen
"""


def load_gates(path: Path) -> Config:
    """Return a config with at least one gate. Raises ConfigError, or UsageError without one."""
    from daypass.config.config import ADD_A_GATE

    config = options.load_config(path)
    if not config.gates:
        raise UsageError(f"{path} has no gate", ADD_A_GATE)
    return config


def listen_address(option: str, text: str) -> tuple[str, int]:
    """Return host and port of an option; the host is empty for all addresses. Raises UsageError."""
    found = parse_listen(text)
    if found is None:
        raise UsageError(f"{option} {text[:60]!r} is not HOST:PORT", "such as 0.0.0.0:9443")
    host, port = found
    return "" if host == "*" else host, port


def read_token(file: str) -> str:
    """Return the token in a file, or on stdin for `-`, even if it holds a whole header.

    Raises UsageError if it can't be read.
    """
    text = read_text(file, "token")
    return text.removeprefix("Authorization: ").removeprefix("Bearer ")
