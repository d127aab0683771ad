"""What can stand in a command line, read out of the parsers that read it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

_FILES = ("FILE", "DIR", "PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option with all its names. `takes`: nothing (`""`), a `file`, a `word`; `choices`: of
    which words."""

    names: tuple[str, ...]
    summary: str
    takes: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A command: its options, its subcommands, and the words that its arguments are one of."""

    summary: str
    options: tuple[Option, ...] = ()
    choices: tuple[str, ...] = ()
    commands: dict[str, Words] = field(default_factory=dict)

    def walk(self, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Words]]:
        """This command and all below it, each with the words that lead to it."""
        below = [found for name, it in self.commands.items() for found in it.walk((*path, name))]
        return [(path, self), *below]


def words_of(parser: argparse.ArgumentParser, summary: str) -> Words:
    """What a parser reads. argparse has no public list of it, so its private one is asked."""
    options: list[Option] = []
    choices: tuple[str, ...] = ()
    for action in parser._actions:
        found = tuple(str(choice) for choice in action.choices or ())
        if not action.option_strings:
            choices += found
            continue
        takes = "" if action.nargs == 0 else "word"
        if takes and (action.metavar in _FILES or getattr(action.type, "__name__", "") == "Path"):
            takes = "file"
        options.append(
            Option(
                names=tuple(action.option_strings),
                summary=(action.help or "").partition(";")[0].partition(" (")[0],
                takes=takes,
                choices=found,
            )
        )
    return Words(summary=summary, options=tuple(options), choices=choices)
