"""What the YAML parsers say, in the words of somebody who edits the file."""

import re
from typing import NamedTuple, NoReturn

import yaml

from daypass.spec.document import Mark
from daypass.spec.problems import Problems
from daypass.spec.wording import printable, shown

GOES_ON = "the value goes on over the next line"
"""Begins the message for a plain scalar of several lines, nearly always a wrong indentation."""


class _Rule(NamedTuple):
    """For a parser's complaint that matches: what to say, and whether to point at the opening."""

    complaint: str
    message: str
    hint: str = ""
    at_opening: bool = False


_RULES = (
    _Rule("scanning an? (alias|anchor)", "a value that begins with {here} needs quotes"),
    _Rule(
        "mapping values are not allowed",
        "there is one colon too many here",
        "put the value in quotes, or check the indentation of this line and the one before",
    ),
    _Rule(
        "sequence entries are not allowed",
        "a list cannot begin here",
        "put '- ...' on a line of its own, or write [a, b]",
    ),
    _Rule(
        "quoted scalar.*end of stream",
        "the quote that is opened here is never closed",
        at_opening=True,
    ),
    _Rule(
        "quoted scalar",
        "an escape in the quoted text makes no sense",
        "in single quotes nothing is escaped",
    ),
    _Rule("cannot start any token", "a value cannot begin with {here}", "put it in quotes"),
    _Rule("flow node.*(after|found|expected)", "a value is missing here", "{brackets}"),
    _Rule(
        "flow (sequence|mapping)",
        "a bracket opened on line {since} is not closed, or a comma is missing",
        "{brackets}",
    ),
    _Rule(
        "expected ':'|simple key",
        "this line has no colon with a space after it",
        "write: key: value",
        at_opening=True,
    ),
    _Rule(
        "block (mapping|collection|sequence)",
        "a key or list item was expected here",
        "check the indentation, and the quotes and brackets before it",
    ),
    _Rule("maximum nesting", "this is nested too deep"),
    _Rule("directive", "a YAML directive (%...)", "remove the line"),
)


def explain_syntax(error: yaml.YAMLError, text: str, problems: Problems) -> NoReturn:
    """Raise ConfigError for what a parser could not read."""
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    complaint = f"{getattr(error, 'context', None) or ''} {said}"
    mark = _mark(getattr(error, "problem_mark", None)) or (0, 0)
    opening = _mark(getattr(error, "context_mark", None)) or mark
    last = problems.last
    if "mapping values" in complaint and last and last.message.startswith(GOES_ON):
        problems.raise_all()  # the colon that is too many belongs to the line that was swallowed
    for rule in _RULES:
        if re.search(rule.complaint, complaint, re.DOTALL):
            brackets = re.search(r"\[[0-9a-f.]*:[0-9a-f:.]*\]", _line(text, mark[0]))
            words = {
                "here": _character(text, mark),
                "since": str(opening[0]),
                "brackets": "an IPv6 address needs quotes" if brackets else "",
            }
            problems.stop(
                opening if rule.at_opening else mark,
                rule.message.format(**words),
                rule.hint.format(**words),
            )
    problems.stop(mark, f"this is not YAML: {printable(said.splitlines()[0])[:120]}")


def _mark(mark: yaml.Mark | None) -> Mark | None:
    return None if mark is None else (mark.line + 1, mark.column + 1)


def _line(text: str, line: int) -> str:
    lines = text.split("\n", line)
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _character(text: str, mark: Mark) -> str:
    """The character at a mark, or the one before it where an alias or anchor began."""
    line, column = _line(text, mark[0]), mark[1]
    before = line[column - 2 : column - 1] if column > 1 else ""
    return shown(before if before in ("*", "&") and before else line[column - 1 : column])
