"""The manual pages of a release: each command has one, and roff reads it as it is meant."""

from __future__ import annotations

import re

import pytest
from tools.reference.commands import command_parsers
from tools.release.man import pages

from daypass.cli import COMMANDS

PAGES = pages("2026-11-29")
MACROS = {"TH", "SH", "SS", "TP", "PP", "B", "BR", "nf", "fi"}


def test_each_command_has_a_page_with_all_of_its_options() -> None:
    assert PAGES.keys() == {"daypass.1", *(f"daypass-{name}.1" for name in COMMANDS)}
    for path, parser in command_parsers().items():
        page = PAGES[f"daypass-{path[0]}.1"].replace("\\-", "-")
        for action in parser._actions:
            for name in {*action.option_strings} - {"-h", "--help", "--color"}:
                assert re.search(rf"^\.B .*{re.escape(name)}\b", page, re.M), (path, name)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_heading_and_no_line_that_roff_would_drop(name: str) -> None:
    lines = PAGES[name].splitlines()
    title = name.removesuffix(".1").upper().replace("-", "\\-")
    assert lines[0].startswith(f'.TH {title} 1 2026-11-29 "daypass ')
    assert lines[1] == ".SH NAME"
    requests = [line[1:].split(" ")[0] for line in lines if line[:1] in (".", "'")]
    assert set(requests) <= MACROS
    literal = [each for each in requests if each in ("nf", "fi")]
    assert literal == ["nf", "fi"] * (len(literal) // 2)
    assert set(re.findall(r"\\(.)", PAGES[name])) <= {"-", "e", "&", "("}
