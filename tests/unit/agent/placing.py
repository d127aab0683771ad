"""Puts a token file in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from daypass.agent.atomic_write import write_atomically
from daypass.agent.config import TokenFile


def place(path: Path, content: bytes, **changes: object) -> None:
    """Write a token file that is private unless changed."""
    made = TokenFile(path=str(path), mode=0o600, audience=None, lifetime_seconds=None)
    write_atomically(replace(made, **changes), content)  # type: ignore[arg-type]
