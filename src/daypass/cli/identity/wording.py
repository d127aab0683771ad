"""What subcommands say alike."""

from __future__ import annotations

from daypass.cli import say


def warn(fact: str, hint: str = "") -> None:
    """Something to know that keeps nothing from being done."""
    say(f"warning: {fact}", hint)
