"""What is wrong with a config file: the problems, and the errors that its types raise.

A type raises `fault` or `expected`, which pydantic collects with the place among the keys; `load`
turns that into file, line and column.
"""

from collections.abc import Iterable, Sequence
from typing import NoReturn, TypeAlias

from pydantic_core import PydanticCustomError

from daypass._core.errors import DaypassError
from daypass._core.findings import Problem
from daypass._core.text import mask_unprintable

Mark: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

Location: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document to a value."""

LIMIT_QUOTED_CHARACTERS = 60

FAULT = "daypass_fault"
EXPECTED = "daypass_expected"


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


def expected(what: str, *, at: Iterable[str | int] = ()) -> PydanticCustomError:
    """Return the error for a value of the wrong type; the message adds what was found."""
    return PydanticCustomError(EXPECTED, "expected {what}", {"what": what, "at": tuple(at)})


class ConfigError(DaypassError):
    """A config file that cannot be used, with every problem in it, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first, *others = map(str, self.problems)
        super().__init__(first, "\n".join(others))
        self.args = (self.problems,)


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
        """Raise ConfigError for a problem after which nothing more can be read."""
        self.add(mark, message, hint)
        self.raise_any()
        raise AssertionError

    def raise_any(self) -> None:
        """Raise ConfigError if there is a problem."""
        if self._found:
            found = sorted(self._found, key=lambda problem: (problem.line, problem.column))
            raise ConfigError(found) from None
