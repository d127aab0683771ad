"""Options that were renamed: the old spelling is a usage error that prints the new command line.

There are no aliases. To rename an option, add a row to `RENAMED` in the commit that changes it, and
a command line with it to `tests/unit/cli/test_renamed.py`, which checks that the new one parses.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass._core.text import suggest


class Renamed(NamedTuple):
    """An old spelling, and what to write instead.

    `commands`: such as "identity create"; none: all. `old`: a pattern for the option with its
    value, as in `--option VALUE`, `--option=VALUE` or `-o VALUE` (which stands for `-oVALUE` too);
    its group is the value. `new`: the words in its place, in which {} stands for the value.
    `unless`: an option next to which it is correct.
    """

    commands: tuple[str, ...]
    old: str
    new: str
    unless: str = "--"


_FORMATS = ("text", "json", "yaml", "tree")
_WRITERS = ("identity create", "identity rotate", "identity federate")
RENAMED = (
    Renamed(("kubeconfig",), "--kubeconfig[ =](.+)", "--kubeconfig-out {}"),
    Renamed(("render",), "--output[ =](.+)", "--directory {}"),
    Renamed(("render",), "--format[ =](.+)", "-o {}"),
    Renamed(("apply", "diff"), "--tree[ =](.+)", "--directory {}"),
    Renamed(_WRITERS, "(?:-o|--credentials)[ =](.+)", "--credentials-out {}"),
    Renamed(("identity rotate",), "--output-dir[ =](.+)", "--credentials-out {}"),
    Renamed(
        ("identity create", "identity authorize"),
        "(?:-o|--output)[ =](json|yaml)", "-o {} --dry-run=client", unless="--dry-run",
    ),  # until 0.2.0: it used to write nothing
    Renamed(
        ("identity create", "identity authorize"), "--dry-run (client|server)", "--dry-run={}"
    ),
    Renamed(("verify",), r"--wait[ =](\d.*)", "--wait --timeout {}"),
)  # fmt: skip


def refuse_renamed(name: str, words: Sequence[str]) -> None:
    """Raise UsageError if a command line has an old spelling; `name` is such as "gate serve"."""
    end = words.index("--") if "--" in words else len(words)
    given = {word.partition("=")[0] for word in words[:end]}
    rows = [it for it in RENAMED if name in (it.commands or [name]) and it.unless not in given]
    line: list[str] = []
    facts: list[str] = []
    at = 0
    while at < end:
        written, taken = _option(words[at:end])
        found = [(it, match) for it in rows if (match := _match(it, written))]
        if not found:
            line.append(words[at])
            at += 1
            continue
        row, match = found[0]
        new = [word.replace("{}", match[1]) for word in row.new.split()]
        facts.append(f"`{written}` is now `{' '.join(new)}`")
        line += new
        at += taken
    if facts:
        hint = command(*name.split(), *line, *words[end:])
        raise UsageError(f"`daypass {name}`: {', '.join(facts)}", f"write: {hint}")


def _match(row: Renamed, written: str) -> re.Match[str] | None:
    """Return the match of an old spelling, unless its FILE is a format, or a mistyped one."""
    match = re.fullmatch(row.old, written, re.DOTALL)
    is_file = row.new.startswith("--") and re.match("(-o|--output)[ =]", written)
    if match and is_file and match[1].isalpha() and suggest(match[1], _FORMATS):
        return None
    return match


def _option(words: Sequence[str]) -> tuple[str, int]:
    """Return the first option with its value, and how many words both take."""
    word = words[0]
    if not word.startswith("--") and len(word) > 2:
        return f"{word[:2]} {word[2:].removeprefix('=')}", 1
    has_value = len(words) > 1 and (words[1] == "-" or not words[1].startswith("-"))
    taken = 2 if "=" not in word and has_value else 1
    return " ".join(words[:taken]), taken
