"""man/*.1: a manual page for each command; that of a group describes its commands too."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from tools.reference.commands import examples, notes, options, parsers, sentence, summary, synopsis
from tools.reference.markdown import GENERATED

import daypass
from daypass.cli.parser import GROUPS, Parser

DATE = "2026-11-26"
"""Of the version; manual pages need one."""

EXIT_STATUS = {"0": "done", "1": "failed", "2": "usage", "3": "findings"}


def pages() -> dict[str, str]:
    """Return each page by its file name: daypass.1, daypass-identity.1."""
    found = parsers()
    pages = {"daypass.1": _overview(found)}
    for name, parser in found.items():
        if " " not in name:
            below = {each: it for each, it in found.items() if each.startswith(f"{name} ")}
            pages[f"daypass-{name}.1"] = _page(name, parser, below)
    return pages


def _overview(found: dict[str, Parser]) -> str:
    lines = [".SH SYNOPSIS", ".B daypass", text("COMMAND [OPTIONS]")]
    for heading, names in GROUPS.items():
        lines.append(f'.SH "{text(heading.upper())}"')
        for name in names:
            lines += [".TP", f".BR daypass\\-{text(name)} (1)", *flow(summary(found[name]))]
    return _document("daypass", "short-lived Kubernetes tokens for outside clients", lines)


def _page(name: str, parser: Parser, below: dict[str, Parser]) -> str:
    lines = [".SH SYNOPSIS", *_synopsis(name, parser)]
    lines += [".SH DESCRIPTION", *_paragraphs(notes(parser) or [sentence(parser)])]
    if below:
        lines.append(".SH COMMANDS")
        for each, it in below.items():
            lines += [f'.SS "daypass {text(each)}"', *flow(sentence(it)), ".PP"]
            lines += [*_synopsis(each, it), *_options(it), ".PP", "Examples:", *_examples(it)]
            lines += [".PP", *_paragraphs(notes(it))] if notes(it) else []
    elif shown := _options(parser):
        lines += [".SH OPTIONS", *shown]
    lines += [".SH EXAMPLES", *_examples(parser)]
    return _document(f"daypass-{name}", summary(parser), lines)


def _document(name: str, purpose: str, lines: Iterable[str]) -> str:
    head = [
        f'.\\" {GENERATED}',
        f'.TH {text(name.upper())} 1 {DATE} "daypass {daypass.__version__}" "daypass"',
        ".SH NAME",
        *flow(f"{name} - {purpose}"),
    ]
    tail = [".SH EXIT STATUS"]
    for status, meaning in EXIT_STATUS.items():
        tail += [".TP", f".B {status}", meaning]
    tail += [".SH SEE ALSO", ".BR daypass (1)"] if name != "daypass" else []
    return "\n".join([*head, *lines, *tail]) + "\n"


def _synopsis(name: str, parser: Parser) -> list[str]:
    command, *words = synopsis(name, parser)
    return [f".B {text(command)}", *map(text, words)]


def _options(parser: Parser) -> list[str]:
    lines = []
    for option in options(parser):
        names = ", ".join(option.names)
        lines += [".TP", f".B {text(f'{names}{option.value}'.strip())}", *flow(option.text)]
    return lines


def _examples(parser: Parser) -> list[str]:
    lines = []
    for command, note in examples(parser):
        lines += [".TP", f".B {text(command)}", *(flow(note) or ["\\ "])]
    return lines


def _paragraphs(paragraphs: list[str]) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += [".PP"] if lines else []
        if paragraph.startswith("  "):
            lines += [".nf", *map(text, paragraph.split("\n")), ".fi"]
        else:
            lines += flow(paragraph)
    return lines


def flow(words: str) -> list[str]:
    """Return the lines of a paragraph."""
    return [text(line) for line in textwrap.wrap(words, 70, break_on_hyphens=False)]


def text(words: str) -> str:
    """Return words as roff reads them."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return re.sub(r"^([.'])", r"\\&\1", escaped)
