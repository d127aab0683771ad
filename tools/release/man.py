"""Manual pages, which a release has: one for each command or group of commands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from tools.reference.commands import examples, notes, options, parsers, sentence, summary, synopsis

from daypass._core import VERSION
from daypass.cli import GROUPS
from daypass.cli.parser import Parser

EXIT_STATUS = {"0": "done", "1": "failed", "2": "usage", "3": "findings"}


def pages(date: str) -> dict[str, str]:
    """Return each page by its file name (daypass.1, daypass-identity.1). `date`: the version's."""
    found = parsers()
    names = {name: parser for name, parser in found.items() if " " not in name}
    bodies = {"daypass": ("short-lived Kubernetes tokens for outside clients", _overview(found))}
    for name, parser in names.items():
        below = {each: it for each, it in found.items() if each.startswith(f"{name} ")}
        bodies[f"daypass-{name}"] = (summary(parser), _body(name, parser, below))
    return {f"{name}.1": _document(name, date, *body) for name, body in bodies.items()}


def _overview(found: dict[str, Parser]) -> list[str]:
    lines = [".SH SYNOPSIS", ".B daypass", text("COMMAND [OPTIONS]")]
    for heading, names in GROUPS.items():
        lines.append(f'.SH "{text(heading.upper())}"')
        for name in names:
            lines += [".TP", f".BR daypass\\-{text(name)} (1)", *_flow(summary(found[name]))]
    return lines


def _body(name: str, parser: Parser, below: dict[str, Parser]) -> list[str]:
    lines = [".SH SYNOPSIS", *_synopsis(name, parser)]
    lines += [".SH DESCRIPTION", *_paragraphs(notes(parser) or [sentence(parser)])]
    lines += [".SH COMMANDS"] if below else []
    for each, it in below.items():
        lines += [f'.SS "daypass {text(each)}"', *_flow(sentence(it)), ".PP"]
        lines += [*_synopsis(each, it), *_options(it), ".PP", *_literal(examples(it))]
        lines += [".PP", *_paragraphs(notes(it))] if notes(it) else []
    if not below and (shown := _options(parser)):
        lines += [".SH OPTIONS", *shown]
    return [*lines, ".SH EXAMPLES", *_literal(examples(parser).partition("\n")[2])]


def _document(name: str, date: str, purpose: str, lines: Iterable[str]) -> str:
    head = [
        f'.TH {text(name.upper())} 1 {date} "daypass {VERSION}" "daypass"',
        ".SH NAME",
        *_flow(f"{name} - {purpose}"),
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
    found = ((".TP", f".B {text(each.head)}", *_flow(each.text)) for each in options(parser))
    return [line for lines in found for line in lines]


def _paragraphs(paragraphs: list[str]) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += [".PP"] if lines else []
        lines += _literal(paragraph) if paragraph.startswith("  ") else _flow(paragraph)
    return lines


def _literal(block: str) -> list[str]:
    return [".nf", *map(text, block.split("\n")), ".fi"]


def _flow(words: str) -> list[str]:
    return [text(line) for line in textwrap.wrap(words, 70, break_on_hyphens=False)]


def text(words: str) -> str:
    """Return words as roff reads them."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return re.sub(r"^([.'])", r"\\&\1", escaped)
