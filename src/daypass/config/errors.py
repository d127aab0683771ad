"""What is wrong with a config file: the problems, and the errors that its types raise.

A type raises one of `fault`, `expected` and `unknown_key`, which pydantic collects with the place
among the keys; `load` turns that into file, line and column.
"""

from collections.abc import Iterable, Sequence
from typing import NoReturn, TypeAlias

from pydantic_core import PydanticCustomError

from daypass._core.errors import DaypassError
from daypass._core.findings import Problem
from daypass._core.text import mask_unprintable, suggest

Mark: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

LIMIT_QUOTED_CHARACTERS = 60
LIMIT_SHOWN = 20
"""How many problems an error lists; the others are counted."""

FAULT = "daypass_fault"
EXPECTED = "daypass_expected"
SAME_HOST = "daypass_same_host"
"""Two domains with one host: for a file, `load` reports it with both lines."""


def shown(text: str) -> str:
    """Return a value in quotes, with at most LIMIT_QUOTED_CHARACTERS characters of it."""
    if len(text) > LIMIT_QUOTED_CHARACTERS:
        text = text[: LIMIT_QUOTED_CHARACTERS - 3] + "..."
    return f"'{mask_unprintable(text)}'"


def one_of(words: Sequence[str]) -> str:
    """Return `a, b or c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


def fault(message: str, hint: str = "", *, at: Iterable[str | int] = ()) -> PydanticCustomError:
    """Return the error for a value that makes no sense: what is wrong, then what to write.

    `at` leads from the value that is checked to the part that is wrong.
    """
    context = {"message": message, "hint": hint, "at": tuple(at)}
    return PydanticCustomError(FAULT, "{message}; {hint}" if hint else "{message}", context)


def unknown_key(key: str) -> PydanticCustomError:
    """Return the error for a key that the value cannot have, with pydantic's own error type."""
    return PydanticCustomError("extra_forbidden", "unknown key {key}", {"key": key, "at": (key,)})


def expected(what: str) -> PydanticCustomError:
    """Return the error for a value of the wrong type; the message adds what was found."""
    return PydanticCustomError(EXPECTED, "expected {what}", {"what": what})


def misspelt_or_missing(key: str, found: Iterable[str]) -> PydanticCustomError:
    """Return the error for a key that is missing: that one of those found is not known, if it was
    probably meant; else with pydantic's own error type.
    """
    for other in found:
        if suggest(str(other), (key,)):
            return unknown_key(str(other))
    return PydanticCustomError("missing", "{key} is missing", {"key": key, "at": (key,)})


def not_among(values: Iterable[str], *, at: Iterable[str | int] = ()) -> PydanticCustomError:
    """Return the error for a value that is none of these, with pydantic's own error type."""
    words = one_of([f"'{value}'" for value in values])
    return PydanticCustomError("literal_error", "{expected}", {"expected": words, "at": tuple(at)})


class ConfigError(DaypassError):
    """A config file that cannot be used, with every problem in it, in the order of the file.

    `problems` holds at most LIMIT_SHOWN; `omitted` is how many more there are.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[Problem], omitted: int = 0) -> None:
        self.problems = tuple(problems)
        self.omitted = omitted
        lines = [str(problem) for problem in self.problems]
        if omitted:
            lines.append(f"... and {omitted} more")
        super().__init__(lines[0], "\n".join(lines[1:]))
        self.args = (self.problems, omitted)


class Problems:
    """Collects what is wrong with one file."""

    __slots__ = ("_file", "_found")

    def __init__(self, file: str) -> None:
        self._file = mask_unprintable(file)
        self._found: list[Problem] = []

    def add(self, mark: Mark, message: str, hint: str = "") -> None:
        """Note a problem."""
        line, column = mark
        self._found.append(
            Problem(file=self._file, line=line, column=column, message=message, hint=hint)
        )

    def stop(self, mark: Mark, message: str, hint: str = "") -> NoReturn:
        """Note a problem after which nothing more can be read, and raise ConfigError."""
        self.add(mark, message, hint)
        self._raise()

    def raise_any(self) -> None:
        """Raise ConfigError if there is a problem."""
        if self._found:
            self._raise()

    def _raise(self) -> NoReturn:
        found = sorted(self._found, key=lambda problem: (problem.line, problem.column))
        raise ConfigError(found[:LIMIT_SHOWN], max(0, len(found) - LIMIT_SHOWN)) from None
