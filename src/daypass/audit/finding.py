"""What a check has found: a level, a fact, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How good it is. `skipped`: what it stands on has failed, or there was nothing to look at."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a check, such as `certificate`; `hint` says what to do next."""

    check: str
    level: Level
    fact: str
    hint: str = ""


def ok(check: str, fact: str) -> Finding:
    """All is well."""
    return Finding(check=check, level=Level.OK, fact=fact)


def warning(check: str, fact: str, hint: str = "") -> Finding:
    """It works, and somebody should know."""
    return Finding(check=check, level=Level.WARNING, fact=fact, hint=hint)


def failure(check: str, fact: str, hint: str = "") -> Finding:
    """It does not work, or it is not safe."""
    return Finding(check=check, level=Level.FAILURE, fact=fact, hint=hint)


def skipped(check: str, fact: str) -> Finding:
    """It could not be looked at."""
    return Finding(check=check, level=Level.SKIPPED, fact=fact)
