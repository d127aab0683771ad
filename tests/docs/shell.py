"""Commands in shell blocks: where they begin, what the page says they print, and their words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """A command line, and the lines that a page shows below it (None: it shows none).

    `is_repeated`: it is run again until it prints them.
    """

    place: str
    code: str
    output: str | None = None
    is_repeated: bool = False


class ShellError(Exception):
    """A block that bash would not read."""


def commands_in(block: Block) -> list[Command]:
    """Return the commands of a shell block, in order. Raises ShellError."""
    if block.language == "sh":
        return [Command(place=block.place, code=code) for code in _statements(block.code)]
    file, _, first = block.place.rpartition(":")
    found: list[Command] = []
    for number, line in enumerate(block.code.splitlines(), int(first) + 1):
        last = found[-1] if found else None
        if last and not last.output and not _is_complete(last.code):
            found[-1] = replace(last, code=f"{last.code}\n{line.removeprefix('> ')}")
        elif line.startswith("$ "):
            place, repeated = f"{file}:{number}", block.is_repeated
            found.append(Command(place=place, code=line[2:], output="", is_repeated=repeated))
        elif last:
            found[-1] = replace(last, output=f"{last.output}{line}\n")
        else:
            raise ShellError(f"{file}:{number}: a console block begins with a command: `$ ...`")
    return found


def _statements(code: str) -> list[str]:
    statements: list[str] = []
    for node in _PARSER.parse(code.encode()).root_node.children:
        if node.type == "&" and statements:
            statements[-1] += " &"
        elif node.type not in ("comment", "\n", ";", "&"):
            statements.append((node.text or b"").decode())
    return statements


def _is_complete(code: str) -> bool:
    """Whether bash would run this line, and not wait for another one."""
    return not code.endswith("\\") and not _PARSER.parse(code.encode()).root_node.has_error


def lines_of(program: str, code: str, place: str) -> Iterator[list[str]]:
    """Yield the words after the name of each call of `program` in a command line, however nested.

    Raises ShellError if bash could not parse it.
    """
    root = _PARSER.parse(code.encode()).root_node
    if root.has_error:
        raise ShellError(f"{place}: bash cannot parse this: {code!r}")
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
    try:
        return "".join(shlex.split(text))
    except ValueError:
        return text


def synopsis_words(line: str) -> list[str]:
    """Return the words of `daypass x NAME [--a A | --b]`, without the signs."""
    return [word for word in re.split(r"[\s\[\]|()]+|\.\.\.", line) if word]
