"""Questions on a terminal, whose answers are checked by the rules of the config.

So an error names the option, not a line of a file that is not written yet. Without a terminal
nothing blocks: the default is taken, or the option is required.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from daypass._core.errors import UsageError
from daypass.config.errors import fault
from daypass.config.types import host as dns_name
from daypass.config.types import is_public_name

Check = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Asks the user. `read`: prompts and returns a line (EOFError at the end); None: no terminal.

    `tell` prints text in between.
    """

    read: Callable[[str], str] | None
    tell: Callable[[str], None]

    def answer(
        self,
        option: str,
        question: str,
        check: Check,
        *,
        choices: Sequence[str] = (),
        default: str | None = None,
    ) -> str:
        """Return what the user answers, checked; without a terminal, the default.

        `choices` are shown and can be chosen by number; other answers are possible. An empty line
        is the default. Raises UsageError.
        """
        if self.read is None:
            if default is None:
                known = f"; there is {', '.join(choices)}" if choices else ""
                raise UsageError(f"{question}: not known", f"say it with {option}{known}")
            return checked(option, default, check)
        for number, choice in enumerate(choices, 1):
            self.tell(f"  {number}  {choice}")
        shown = f" [{default}]" if default is not None else ""
        while True:
            try:
                line = self.read(f"{question}{shown}: ").strip() or default or ""
            except EOFError:
                raise UsageError(f"{question}: no answer", f"say it with {option}") from None
            if line.isascii() and line.isdigit() and 1 <= int(line) <= len(choices):
                line = choices[int(line) - 1]
            try:
                return checked(option, line, check)
            except UsageError as error:
                self.tell(str(error))


def checked(option: str, value: str, check: Check) -> str:
    """Return a value, checked by a rule of the config. Raises UsageError with the option's name."""
    try:
        return check(value)
    except PydanticCustomError as error:
        context = error.context or {}
        fact = context.get("message", error.message())
        raise UsageError(f"{option}: {fact}", str(context.get("hint", ""))) from None


def terminal(tell: Callable[[str], None]) -> Questions:
    """Return questions on this process's terminal, with prompts on stderr."""
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


def public_name(text: str) -> str:
    """Return a host that an ingress or gateway can have. Raises as the rules of the config."""
    name = dns_name(text)
    if not is_public_name(name):
        raise fault(f"'{name}' is no public name", "write the DNS name")
    return name
