"""How values of a file appear in a message: short, printable, and with the nearest right word.

The errors that the types of a config raise, with a hint, for pydantic to collect.

pydantic knows where a value stands among the keys; `explain` turns that into line and column.

What is wrong with a config file: one line a problem, and all of them at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from pydantic_core import PydanticCustomError

from daypass._core.errors import DaypassError
from daypass._core.text import mask_unprintable

LIMIT_SHOWN_CHARACTERS = 60


def shown(text: str) -> str:
    """A value in quotes, of at most LIMIT_SHOWN_CHARACTERS characters."""
    if len(text) > LIMIT_SHOWN_CHARACTERS:
        text = text[: LIMIT_SHOWN_CHARACTERS - 3] + "..."
    return f"'{mask_unprintable(text)}'"


def one_of(words: Sequence[str]) -> str:
    """`a, b or c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


FAULT = "daypass_fault"
EXPECTED = "daypass_expected"
SAME_HOST = "daypass_same_host"
"""Two domains with one host: in a file, `reading` says it with both lines."""


def fault(message: str, hint: str = "", *, at: Iterable[str | int] = ()) -> PydanticCustomError:
    """A value that makes no sense: what is wrong, then what to write.

    `at`: the way from the value that is checked to the part that is wrong.
    """
    context = {"message": message, "hint": hint, "at": tuple(at)}
    return PydanticCustomError(FAULT, "{message}; {hint}" if hint else "{message}", context)


def unknown_key(key: str) -> PydanticCustomError:
    """A key that the value cannot have; named as pydantic names its own error of that kind."""
    return PydanticCustomError("extra_forbidden", "unknown key {key}", {"key": key, "at": (key,)})


def expected(what: str) -> PydanticCustomError:
    """A value of the wrong type; the message goes on with what was found."""
    return PydanticCustomError(EXPECTED, "expected {what}", {"what": what})


LIMIT_SHOWN = 20
"""How many problems a message lists; who has more mends those first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class ConfigError(DaypassError):
    """A config file that cannot be used, with every problem in it, in the order of the file.

    `problems` holds at most LIMIT_SHOWN; `omitted` says how many more there are.
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

    @property
    def last(self) -> Problem | None:
        """The problem that was noted last."""
        return self._found[-1] if self._found else None

    def add(self, mark: tuple[int, int], message: str, hint: str = "") -> None:
        """Note a problem at (line, column)."""
        line, column = mark
        self._found.append(
            Problem(file=self._file, line=line, column=column, message=message, hint=hint)
        )

    def stop(self, mark: tuple[int, int], message: str, hint: str = "") -> NoReturn:
        """A problem after which nothing more can be read: raises ConfigError."""
        self.add(mark, message, hint)
        self.raise_all()

    def raise_any(self) -> None:
        """Raise ConfigError if there is a problem."""
        if self._found:
            self.raise_all()

    def raise_all(self) -> NoReturn:
        """Raise ConfigError with what was found, in the order of the file."""
        found = sorted(self._found, key=lambda problem: (problem.line, problem.column))
        raise ConfigError(found[:LIMIT_SHOWN], max(0, len(found) - LIMIT_SHOWN)) from None
