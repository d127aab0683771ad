"""What can't be found out: asked on a terminal, or taken from options. Nothing blocks without one.

An answer is checked by the rule of the config's key that it is for, so that it is refused here,
with the name of its option, and not later in a file that nobody wrote.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic_core import PydanticCustomError

from daypass._core.errors import UsageError
from daypass.spec.faults import fault

T = TypeVar("T")
Check = Callable[[str], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Asks a person. `read`: prompts and gives a line (EOFError at the end); None: there is nobody.

    `tell` is for words in between.
    """

    read: Callable[[str], str] | None
    tell: Callable[[str], None]

    def answer(
        self,
        option: str,
        question: str,
        check: Check[T],
        *,
        given: str | None = None,
        choices: Sequence[str] = (),
        default: str | None = None,
    ) -> T:
        """What was given with an option, or what a person answers, checked.

        `choices` are shown, and can be chosen by number; others may be written. `default` counts
        where there is nobody to ask, and for an empty line. Raises UsageError.
        """
        if given is not None:
            return checked(option, given, check)
        if self.read is None:
            if default is None:
                known = f"; there is {', '.join(choices)}" if choices else ""
                raise UsageError(f"{question}: not known", f"say it with {option}{known}")
            return checked(option, default, check)
        for number, choice in enumerate(choices, 1):
            self.tell(f"  {number}  {choice}")
        while True:
            line = self._line(option, question, default)
            if line.isascii() and line.isdigit() and 1 <= int(line) <= len(choices):
                line = choices[int(line) - 1]
            try:
                return checked(option, line, check)
            except UsageError as error:
                self.tell(str(error))

    def _line(self, option: str, question: str, default: str | None) -> str:
        assert self.read is not None  # noqa: S101 - `answer` has looked
        shown = f" [{default}]" if default is not None else ""
        try:
            line = self.read(f"{question}{shown}: ").strip()
        except EOFError:
            raise UsageError(f"{question}: no answer", f"say it with {option}") from None
        return line or default or ""


def checked(option: str, value: str, check: Check[T]) -> T:
    """A value by a rule of the config. Raises UsageError with the option's name."""
    try:
        return check(value)
    except PydanticCustomError as error:
        context = error.context or {}
        fact = context.get("message", error.message())
        raise UsageError(f"{option}: {fact}", str(context.get("hint", ""))) from None


def one_of(*words: str) -> Check[str]:
    """A rule: one of some words."""

    def check(value: str) -> str:
        if value not in words:
            raise fault(f"{value!r} is none of {', '.join(words)}")
        return value

    return check


def terminal(tell: Callable[[str], None]) -> Questions:
    """Asks on this process' terminal, with prompts on stderr; nobody, where that is none."""
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return Questions(read=None, tell=tell)
    return Questions(read=_read, tell=tell)


def _read(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
