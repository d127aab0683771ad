"""What checks find: of a door, of identities, of a gate, of the policy, in a config file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated


class Level(StrEnum):
    """The severity of a finding. `skipped`: the check was not possible, or had nothing to check."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a check."""

    check: Annotated[str, "the check, such as `certificate`"]
    level: Annotated[Level, "its severity; skipped: the check was not possible, or not needed"]
    fact: Annotated[str, "what was found"]
    hint: Annotated[str, "what to do next; empty: nothing"] = ""

    @property
    def sentence(self) -> str:
        """The fact, and what to do next, in one line."""
        return f"{self.fact}: {self.hint}" if self.hint else self.fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file."""

    file: Annotated[str, "the file"]
    line: Annotated[int, "the line, from 1; 0: the file as a whole"]
    column: Annotated[int, "the column, from 1; 0: the file as a whole"]
    message: Annotated[str, "what is wrong"]
    hint: Annotated[str, "what to write instead; may be empty"] = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


def ok(check: str, fact: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, level=Level.OK, fact=fact)


def warning(check: str, fact: str, hint: str = "") -> Finding:
    """Return a finding about something that works, but should be looked at."""
    return Finding(check=check, level=Level.WARNING, fact=fact, hint=hint)


def failure(check: str, fact: str, hint: str = "") -> Finding:
    """Return a finding about something that does not work, or is not safe."""
    return Finding(check=check, level=Level.FAILURE, fact=fact, hint=hint)


def skipped(check: str, fact: str, hint: str = "") -> Finding:
    """Return a finding that a check was skipped, or that something is not known."""
    return Finding(check=check, level=Level.SKIPPED, fact=fact, hint=hint)


def exit_code(*groups: Iterable[Finding]) -> int:
    """Return 3 if a finding of any group is a failure, else 0."""
    return 3 if any(each.level is Level.FAILURE for group in groups for each in group) else 0
