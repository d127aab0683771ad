"""Options that were renamed: the old spelling is a usage error that prints the new command line.

There are no aliases. To rename an option, add a row to `RENAMED` in the commit that changes the
option. `tests/unit/cli/test_renamed.py` takes a command line for each row, and checks that the one
in the hint parses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass._core.hints import command

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """An old spelling, and what to write instead.

    `commands`: such as "identity create"; none: all commands. `old`: its names, `-o` too. `new`:
    the words in its place, in which VALUE stands for its value. `value`: a pattern for the values
    with which it is the old spelling; others pass, and so does the option without any. `unless`:
    an option with which it is correct. `spaced`: it is correct with `=`.
    """

    commands: tuple[str, ...] = ()
    old: tuple[str, ...]
    new: str
    value: str = ".*"
    unless: str = ""
    spaced: bool = False


RENAMED = (
    Renamed(commands=("kubeconfig",), old=("--kubeconfig",), new="--kubeconfig-out VALUE"),
)  # fmt: skip


def refuse_renamed(name: str, words: Sequence[str]) -> None:
    """Raise UsageError if a command line has an old spelling; `name` is such as "gate serve"."""
    end = words.index("--") if "--" in words else len(words)
    line: list[str] = []
    facts: list[str] = []
    at = 0
    while at < end:
        option, value, taken = _option(words[at:end])
        row = _row(name, option, value, words[:end], spaced=taken == 2)
        if row is None or value is None:
            line.append(words[at])
            at += 1
            continue
        new = [word.replace("VALUE", value) for word in row.new.split()]
        facts.append(f"`{option} {value}` is now `{' '.join(new)}`")
        line += new
        at += taken
    if facts:
        hint = command(*name.split(), *line, *words[end:])
        raise UsageError(f"`daypass {name}`: {', '.join(facts)}", f"write: {hint}")


def _option(words: Sequence[str]) -> tuple[str, str | None, int]:
    """Return the option that the first word is, its value, and how many words both take."""
    word = words[0]
    name, equals, value = word.partition("=")
    if word.startswith("--") and equals:
        return name, value, 1
    if word.startswith("-") and not word.startswith("--") and len(word) > 2:
        return word[:2], word[2:], 1
    if len(words) > 1 and (words[1] == "-" or not words[1].startswith("-")):
        return word, words[1], 2
    return word, None, 1


def _row(
    name: str, option: str, value: str | None, words: Sequence[str], *, spaced: bool
) -> Renamed | None:
    for row in RENAMED:
        if (
            option in row.old
            and (not row.commands or name in row.commands)
            and value is not None
            and re.fullmatch(row.value, value, re.DOTALL)
            and not (row.spaced and not spaced)
            and row.unless not in {word.partition("=")[0] for word in words if word}
        ):
            return row
    return None
