"""The commands that messages name: found in the source, recorded as they are made, and parsed."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import daypass
from daypass import cli
from daypass._core import hints
from daypass.cli.parser import Parser, make_parser

SOURCE = Path(daypass.__file__).parent
PROGRAMS = {"command": "daypass", "kubectl": "kubectl"}
KUBECTL_VERBS = {
    "annotate", "apply", "auth", "config", "create", "delete", "describe", "diff", "get",
    "kustomize", "label", "logs", "patch",
}  # fmt: skip
STAND_IN = "some-word"
STAND_INS = {"URL": "https://door.example.com/kubernetes", "DURATION": "1h"}
"""For placeholders whose option takes only some words; every other one stands for itself."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source that names a command: `file::function`, and the words it is sure of."""

    place: str
    program: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        words = (re.sub(STAND_IN, "_", word) for word in self.words)
        return " ".join((f"{self.place}:", self.program, *words))


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
    if loosely and words[:1] in ((), (STAND_IN,)):
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


@cache
def call_sites() -> tuple[Site, ...]:
    """Every call of `hints.command` and `hints.kubectl`; alternatives in one give one for each."""
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        text = file.read_text()
        if name == "_core/hints.py" or not any(f"{each}(" in text for each in PROGRAMS):
            continue  # parsing all of the source takes seconds
        for function, call in _calls(ast.parse(text), "<module>"):
            program = PROGRAMS[_name(call.func)]
            for words in itertools.product(*map(_alternatives, call.args)):
                flat = tuple(itertools.chain.from_iterable(words))
                found.append(Site(f"{name}::{function}", program, flat))
    return tuple(found)


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and _name(child.func) in PROGRAMS:
            yield function, child
        yield from _calls(child, _function(child, function))


def _function(node: ast.AST, outer: str) -> str:
    return node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else outer


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _alternatives(argument: ast.expr) -> list[list[str]]:
    """What an argument of a call may contribute: each a list of words."""
    if isinstance(argument, ast.IfExp):
        return [*_alternatives(argument.body), *_alternatives(argument.orelse)]
    if isinstance(argument, ast.Starred):
        is_seen = isinstance(argument.value, ast.IfExp | ast.Tuple | ast.List)
        return _alternatives(argument.value) if is_seen else [[]]
    if isinstance(argument, ast.Tuple | ast.List):
        product = itertools.product(*map(_alternatives, argument.elts))
        return [list(itertools.chain.from_iterable(words)) for words in product]
    if isinstance(argument, ast.Call) and _name(argument.func) == "Placeholder":
        word = _literal(argument.args[0])
        return [[STAND_INS.get(word, word)]]
    return [[_literal(argument)]]


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(each) for each in node.values)
    return STAND_IN


PLAIN = re.compile(
    rf"\bdaypass (?:{'|'.join(map(re.escape, cli.COMMANDS))})\b"
    rf"|\bkubectl (?:-|{'|'.join(KUBECTL_VERBS)})"
)


def plain_commands() -> list[tuple[str, str]]:
    """String literals that name a command, and come not from `hints.command`, with their place.

    Not docstrings, help texts, and the first argument of `MissingExtraError`, which is a name.
    """
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        for function, text in _texts(tree, "<module>"):
            if PLAIN.search(text):
                found.append((f"{file.relative_to(SOURCE).as_posix()}::{function}", text))
    return found


def options_named(package: str) -> list[str]:
    """String literals of a package that name an option of a command, outside command lines."""
    return [
        f"{file.name}: {text}"
        for file in sorted((SOURCE / package).rglob("*.py"))
        for _, text in _texts(ast.parse(file.read_text()), "<module>")
        if re.search(r"(?<![-\w])--[a-z]", text)
    ]


def _texts(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if _is_prose(child):
            continue
        if isinstance(child, ast.Call) and _name(child.func) in ("MissingExtraError", *PROGRAMS):
            continue
        if isinstance(child, ast.Constant | ast.JoinedStr):
            if isinstance(child, ast.JoinedStr) or isinstance(child.value, str):
                yield function, _literal(child)
            for value in getattr(child, "values", ()):  # calls inside an f-string
                if isinstance(value, ast.FormattedValue):
                    yield from _texts(value, function)
            continue
        yield from _texts(child, _function(child, function))


def _is_prose(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant | ast.JoinedStr)
    if isinstance(node, ast.keyword):
        return node.arg in ("help", "description", "prog")
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return bool(names & {"SUMMARY", "EPILOG"})
    return False
