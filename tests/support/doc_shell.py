"""Commands in shell blocks: where they begin, what the page says they print, and their words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

import tree_sitter_bash
from tools.docs.pages import Block
from tree_sitter import Language, Node, Parser

SHELL = ("console", "sh")
"""`console`: commands after `$ `, and what they print. `sh`: commands alone."""

_PARSER = Parser(Language(tree_sitter_bash.language()))
_WRAPPERS = {"sudo", "exec", "time", "nohup", "env", "watch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line, and the lines that a page shows below it (None: it shows none)."""

    place: str
    code: str
    output: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellError(Exception):
    """A block that bash would not read."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def commands_in(block: Block) -> list[Command]:
    """Return the commands of a shell block, in order. Raises ShellError."""
    file, _, first = block.place.rpartition(":")
    lines = block.code.splitlines()
    if block.language == "sh":
        return [Command(place=block.place, code=code) for code in _statements(block)]
    found: list[Command] = []
    number = 0
    while number < len(lines):
        place = f"{file}:{int(first) + 1 + number}"
        if not lines[number].startswith("$ "):
            raise ShellError(place=place, message="a console block begins with a command: `$ ...`")
        code = lines[number][2:]
        number += 1
        while not is_complete(code) and number < len(lines):
            code += "\n" + lines[number].removeprefix("> ")
            number += 1
        shown = []
        while number < len(lines) and not lines[number].startswith("$ "):
            shown.append(lines[number])
            number += 1
        while shown and not shown[-1]:
            shown.pop()
        found.append(Command(place=place, code=code, output=tuple(shown)))
    return found


def _statements(block: Block) -> list[str]:
    root = _PARSER.parse(block.code.encode()).root_node
    statements: list[str] = []
    for node in root.children:
        text = (node.text or b"").decode()
        if node.type not in ("comment", "\n", ";", "&"):
            statements.append(text)
        elif node.type == "&" and statements:
            statements[-1] += " &"
    return statements


def is_complete(code: str) -> bool:
    """Whether bash would run this line, and not wait for another one."""
    return not code.endswith("\\") and not _PARSER.parse(code.encode()).root_node.has_error


def lines_of(program: str, code: str, place: str) -> Iterator[list[str]]:
    """Yield the words after the name of each call of `program` in a command line, however nested.

    Raises ShellError if bash could not parse it.
    """
    root = _PARSER.parse(code.encode()).root_node
    if root.has_error:
        raise ShellError(place=place, message=f"bash cannot parse this: {code!r}")
    for node in _commands(root):
        words = [_word(child) for child in node.children if child.type != "variable_assignment"]
        for number, word in enumerate(words):
            before = words[number - 1] if number else ""
            if PurePath(word).name == program and (
                not number or before in ("--", *_WRAPPERS) or (words[0] == "env" and "=" in before)
            ):
                yield words[number + 1 :]
                break


def _commands(node: Node) -> Iterator[Node]:
    if node.type == "command":
        yield node
    for child in node.children:
        yield from _commands(child)


def _word(node: Node) -> str:
    """Return a word as the program gets it; with a variable in it, as it is written."""
    text = (node.text or b"").decode()
    if node.type == "command_name" or node.type in (
        "word",
        "raw_string",
        "string",
        "concatenation",
    ):
        try:
            return "".join(shlex.split(text))
        except ValueError:
            return text
    return text


def synopsis_words(line: str) -> list[str]:
    """Return the words of `daypass x NAME [--a A | --b]`, without the signs."""
    return [word for word in re.split(r"[\s\[\]|()]+|\.\.\.", line) if word]
