"""docs/reference/commands.md: every command as its --help describes it, from its parser."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from daypass._core.hints import docs_page
from daypass.cli import COMMANDS, GROUPS
from daypass.cli.parser import Parser, make_parser

WIDTH = 80
SHARED_BY = 2
"""How many commands have an option that is described once, above all commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option or an argument: its names, what follows (` FILE`, `[=client]`), and its help."""

    names: tuple[str, ...]
    value: str
    text: str

    @property
    def head(self) -> str:
        return f"{', '.join(self.names)}{self.value}".strip()


def command_modules(
    commands: Mapping[str, str] = COMMANDS, above: tuple[str, ...] = ()
) -> dict[tuple[str, ...], ModuleType]:
    """Return the modules of commands, groups and their commands, by the words that lead to them."""
    found: dict[tuple[str, ...], ModuleType] = {}
    for name, home in commands.items():
        path, module = (*above, name), import_module(home)
        found[path] = module
        below = {each: f"{home}.{each}" for each in getattr(module, "COMMANDS", ())}
        found |= command_modules(below, path)
    return found


def command_parsers() -> dict[tuple[str, ...], Parser]:
    """Return the parsers of commands, groups and their commands, by the words that lead to them."""
    return {path: make_parser(" ".join(path), it) for path, it in command_modules().items()}


def parsers() -> dict[str, Parser]:
    """Return the parser of each command and group, by its name: `identity create`."""
    return {" ".join(path): parser for path, parser in command_parsers().items()}


def is_group(parser: Parser) -> bool:
    return "\n" in str(parser.description)


def summary(parser: Parser) -> str:
    """Return what a command does, in one line."""
    return str(parser.description).partition("\n")[0]


def sentence(parser: Parser) -> str:
    """Return the summary as a sentence."""
    text = summary(parser)
    return f"{text[0].upper()}{text[1:]}."


def options(parser: Parser) -> list[Option]:
    """Return the arguments of a command, then its options, without those that all have."""
    found = _without_common(map(_option, parser._actions))
    return sorted(found, key=lambda each: bool(each.names))


def _without_common(found: Iterable[Option]) -> list[Option]:
    return [each for each in found if "--help" not in each.names]


def _option(action: argparse.Action) -> Option:
    value = ""
    if action.nargs != 0:
        choices = "" if action.choices is None else f"{{{','.join(map(str, action.choices))}}}"
        value = str(action.metavar or choices or action.dest.upper())
        if action.nargs == "?":  # an option takes it after an equals sign only
            value = f"[={value}]" if action.option_strings else f"[{value}]"
        else:
            value = f" {value}"
    text = str(action.help or "")
    if action.choices is not None and not action.option_strings:
        text += f": {', '.join(map(str, action.choices))}"
    return Option(names=tuple(action.option_strings), value=value, text=text)


def synopsis(name: str, parser: Parser) -> list[str]:
    """Return the words of `daypass NAME ARGUMENT --required VALUE (--this | --that) [OPTIONS]`."""
    groups = [it._group_actions for it in parser._mutually_exclusive_groups if it.required]
    alone = [[it] for it in parser._actions if it.required or not it.option_strings]
    words = []
    for actions in [*alone, *groups]:
        shown = _without_common(map(_option, actions))
        word = " | ".join("".join([*each.names[:1], each.value]).strip() for each in shown)
        words.append(f"({word})" if len(shown) > 1 else word)
    words.sort(key=lambda word: (word.startswith("-- "), word.startswith(("--", "(-"))))
    return [f"daypass {name}", *words]


def notes(parser: Parser) -> list[str]:
    """Return the paragraphs after the examples; an indented one is code.

    Exit codes are left out: a page of their own has them.
    """
    text = str(parser.epilog).partition("\n\n")[2].replace(docs_page(""), "docs/")
    text = re.sub(r"\s*Exit\s+code \d.*?\.(?=\s|$)", "", text, flags=re.DOTALL)
    return [each.strip("\n") for each in re.split(r"\n\n|(?<=:)\n(?=  )", text) if each.strip()]


def page() -> str:
    """Return the options of many commands, and each command."""
    found = parsers()
    counts = Counter(option for parser in found.values() for option in options(parser))
    often = [it for it, count in counts.most_common() if count >= SHARED_BY]
    shared = sorted({each.head: each for each in reversed(often)}.values(), key=_order)
    sections = [
        _section(name, found[name], shared)
        for group in sum(GROUPS.values(), ())
        for name, parser in found.items()
        if name.split()[0] == group and not is_group(parser)
    ]
    above = "Of several commands:"
    return "\n\n".join((above, _block(map(_entry, shared)), *sections))


def _section(name: str, parser: Parser, shared: list[Option]) -> str:
    head = f"## daypass {name}\n\n{sentence(parser)}"
    usage = "\n".join(_fill(" ".join(synopsis(name, parser))))
    found = options(parser)
    own = [_entry(each) for each in found if each not in shared]
    more = ", ".join(each.names[-1] for each in found if each in shared and each.names)
    shown = [usage, *(["", *own] if own else []), *(["", *_fill(f"  {more}")] if more else [])]
    return "\n\n".join([head, _block(shown), *map(_paragraph, notes(parser))])


def _fill(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _order(option: Option) -> str:
    return option.head.rpartition("--")[2]


def _block(lines: Iterable[str]) -> str:
    return "\n".join(["```text", *lines, "```"])


def _entry(option: Option) -> str:
    """Return the lines of an option, as --help has them."""
    head = f"  {option.head}"
    start, first = ("", head.ljust(24)) if len(head) < 23 else (f"{head}\n", " " * 24)
    text = textwrap.fill(
        option.text, WIDTH, initial_indent=first, subsequent_indent=" " * 24,
        break_on_hyphens=False,
    )  # fmt: skip
    return start + text


def _paragraph(text: str) -> str:
    if text.startswith("  "):
        return _block([textwrap.dedent(text)])
    return re.sub(r"docs/([\w/-]+\.md)", r"[\1](../\1)", text)
