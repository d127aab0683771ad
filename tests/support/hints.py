"""The commands that messages name, recorded as they are made, and parsed."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import daypass
from daypass import cli
from daypass._core import hints
from daypass.cli.parser import Parser, make_parser

SOURCE = Path(daypass.__file__).parent
KUBECTL_VERBS = {
    "annotate", "apply", "auth", "config", "create", "delete", "describe", "diff", "get",
    "kustomize", "label", "logs", "patch",
}  # fmt: skip
STAND_INS = {"URL": "https://door.example.com/kubernetes", "DURATION": "1h"}
"""For placeholders whose option takes only some words; every other one stands for itself."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A command that was named while a test ran, and by which function."""

    place: str
    program: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        return shlex.join((self.program, *self.words))


class Recorder:
    """Every command that is named in this process, and what is wrong with those that are."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.mistakes: list[str] = []

    def named(self, begin: str, said: str) -> Hint:
        """The one command that begins like this in what was printed."""
        found = {e.line: e for e in self.hints if e.line.startswith(begin) and e.line in said}
        (hint,) = found.values()
        return hint

    def install(self) -> None:
        """Look at each line that `daypass._core.hints` makes from now on."""
        make = hints._line

        def recorded(program: str, words: tuple[str, ...]) -> str:
            hint = Hint(_caller(), program, tuple(words))
            self.hints.append(hint)
            filled = [STAND_INS.get(w, w) if isinstance(w, hints.Placeholder) else w for w in words]
            if mistake := mistake_in(program, filled):
                self.mistakes.append(f"{hint.place}: {hint.line}: {mistake}")
            return make(program, words)

        hints._line = recorded


def _caller() -> str:
    frame = sys._getframe(3)  # _caller, recorded, command
    path = Path(frame.f_code.co_filename)
    name = path.relative_to(SOURCE).as_posix() if path.is_relative_to(SOURCE) else path.name
    return f"{name}::{frame.f_code.co_name}"


def mistake_in(program: str, words: Sequence[str], *, loosely: bool = False) -> str:
    """Why a program would not take this command line; empty where it does.

    `loosely`: some words stand for others, so that choices and types are not looked at.
    """
    if program == "kubectl":
        return _kubectl_mistake(words)
    assert program == "daypass", program
    if list(words) in (["--help"], ["--version"]):
        return ""
    if not words or words[0] not in cli.COMMANDS:
        return "there is no such command"
    name, rest = [words[0]], list(words[1:])
    module = importlib.import_module(cli.COMMANDS[words[0]])
    below = getattr(module, "COMMANDS", ())
    if below and rest and rest[0] in below:
        name.append(rest.pop(0))
        module = importlib.import_module(f"{module.__name__}.{name[1]}")
    elif below and rest != ["--help"]:
        return f"it needs one of the subcommands {', '.join(below)}"
    parser = make_parser(" ".join(name), module)
    if loosely:
        _loosen(parser)
    if "--help" in rest:  # to parse it would print
        return ""
    try:
        parser.parse(rest)
    except SystemExit as stop:
        return str(stop.code or "")
    except daypass.DaypassError as error:
        return str(error)
    return ""


def _loosen(parser: Parser) -> None:
    for action in parser._actions:
        action.choices = action.type = None
    for group in parser._mutually_exclusive_groups:
        group.required = False


def _kubectl_mistake(words: Sequence[str]) -> str:
    verbs = [word for word in words if word in KUBECTL_VERBS]
    return "" if verbs else "it names no verb of kubectl"
