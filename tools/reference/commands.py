"""docs/reference/commands.md: every command with its options and examples, from its parser."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from tools.reference.markdown import code, table

from daypass._core.installation import docs_page
from daypass.cli.parser import GROUPS, Parser
from support.commands import command_parsers


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option or an argument: its names, what follows (` FILE`, `[=client]`), and its help."""

    names: tuple[str, ...]
    value: str
    text: str
    is_required: bool


def parsers() -> dict[str, Parser]:
    """Return the parser of each command and group, by its name: `identity create`."""
    return {" ".join(path): parser for path, parser in command_parsers().items()}


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
    return [each for each in found if {"--help", "--color"}.isdisjoint(each.names)]


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
    if action.choices is not None and action.metavar and "|" not in str(action.metavar):
        text += f": {', '.join(map(str, action.choices))}"
    return Option(
        names=tuple(action.option_strings),
        value=value,
        text=text,
        is_required=action.required and bool(action.option_strings),
    )


def synopsis(name: str, parser: Parser) -> list[str]:
    """Return the words of `daypass NAME ARGUMENT [--option VALUE] (--this | --that)`."""
    together = [(it._group_actions, it.required) for it in parser._mutually_exclusive_groups]
    grouped = {id(action) for actions, _ in together for action in actions}
    alone = [([each], each.required) for each in parser._actions if id(each) not in grouped]
    words = []
    for actions, is_required in [*alone, *together]:
        shown = _without_common(map(_option, actions))
        word = " | ".join("".join([*each.names[:1], each.value]).strip() for each in shown)
        if len(shown) > 1 and is_required:
            words.append(f"({word})")
        elif shown:
            words.append(word if is_required or not shown[0].names else f"[{word}]")
    words.sort(key=_rank)
    return [f"daypass {name}", *words]


def _rank(word: str) -> int:
    """Return the place of a word: arguments, what is required, the rest, and `-- COMMAND`."""
    if word.startswith("-- "):
        return 4
    is_optional, is_option = word.startswith("[-"), word.startswith(("-", "(-"))
    return 2 if is_option else 3 if is_optional else 1


def examples(parser: Parser) -> list[tuple[str, str]]:
    """Return the examples of a command: command lines, each with a note, or an empty one."""
    found: list[tuple[str, str]] = []
    block = str(parser.epilog).partition("\n\n")[0]
    for line in re.sub(r"\s*\\\n\s*|(?<=\|)\n\s*", " ", block).splitlines()[1:]:
        if line.startswith(" " * 20):  # a note that continues
            command, note = found.pop()
            found.append((command, f"{note} {line.strip()}".strip()))
        else:
            command, _, note = line.strip().partition("  ")
            found.append((command, note.strip()))
    return found


def notes(parser: Parser) -> list[str]:
    """Return the paragraphs after the examples; an indented one is code."""
    text = str(parser.epilog).partition("\n\n")[2].replace(docs_page(""), "docs/")
    return [each.strip("\n") for each in re.split(r"\n\n|(?<=:)\n(?=  )", text) if each.strip()]


def page() -> str:
    """Return the contents of the page, and a section for each command."""
    found = parsers()
    contents, sections = [], []
    for heading, groups in GROUPS.items():
        names = [name for name in found if name.split()[0] in groups]
        links = [f"[{code(name)}](#daypass-{name.replace(' ', '-')})" for name in names]
        summaries = [summary(found[name]) for name in names]
        contents.append(table((heading, ""), zip(links, summaries, strict=True)))
        sections += [_section(name, found[name]) for name in names]
    return "\n\n".join((*contents, *sections))


def _section(name: str, parser: Parser) -> str:
    lines = [f"{command}   # {note}" if note else command for command, note in examples(parser)]
    shown = "```sh\n" + "\n".join(lines) + "\n```"
    if "\n" in str(parser.description):  # a group
        return "\n\n".join((f"## daypass {name}", sentence(parser), shown))
    usage = textwrap.fill(
        " ".join(word.replace(" ", "\0") for word in synopsis(name, parser)),
        width=100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False,
    ).replace("\0", " ")  # fmt: skip
    parts = [f"## daypass {name}", sentence(parser), f"```text\n{usage}\n```"]
    if found := options(parser):
        parts.append(table(("option", "meaning"), map(_row, found)))
    return "\n\n".join([*parts, shown, *map(_paragraph, notes(parser))])


def _row(option: Option) -> tuple[str, str]:
    names = ", ".join(option.names)
    return code(f"{names}{option.value}".strip()), option.text + " (required)" * option.is_required


def _paragraph(text: str) -> str:
    if text.startswith("  "):
        return f"```text\n{textwrap.dedent(text)}\n```"
    return re.sub(r"docs/([\w/-]+\.md)", r"[\1](../\1)", text)
