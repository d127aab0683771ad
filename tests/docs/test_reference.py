"""docs/reference/ is as the code: `make reference` writes what is generated."""

from __future__ import annotations

import re

import pytest
from tools.bootstrap import ROOT
from tools.reference.__main__ import KIND, PARTS, files
from tools.reference.commands import parsers

PAGES = ROOT / "docs/reference"
SOURCE = {file: file.read_text() for file in (ROOT / "src/daypass").rglob("*.py")}


@pytest.mark.parametrize(("name", "text"), files().items(), ids=files())
def test_a_committed_page_is_what_the_code_says(name: str, text: str) -> None:
    assert (ROOT / name).read_text() == text, "run `make reference`, and commit what it writes"


def test_every_part_that_is_marked_as_generated_is_generated() -> None:
    marked = {
        (page.stem, name)
        for page in PAGES.iterdir()
        for name in re.findall(rf"<!-- {KIND}: (.*?) -->", page.read_text())
    }
    assert marked == {(page, name) for page, parts in PARTS.items() for name in parts}


def test_every_variable_that_the_source_reads_is_documented() -> None:
    found = {name for text in SOURCE.values() for name in _read_in(text)}
    assert len(found) > 15
    assert found <= {*documented_in("Environment variables")}


def _read_in(text: str) -> set[str]:
    direct = re.findall(r'environ(?:\.get\(|\[)"(\w+)"', text)
    constants = re.findall(r'"((?:DAYPASS|ACTIONS|KUBERNETES|XDG|WATCHDOG)(?:_[A-Z]+)+)"', text)
    return {name.upper() for name in (*direct, *constants)}


def test_every_command_that_exits_with_3_is_documented() -> None:
    exits = re.compile(r"^    +return .*(?:\b3\b|gates\.exit_code|\bexit_code\()", re.MULTILINE)
    found = {name for name in parsers() if exits.search(_source_of(name))}
    assert found == {name.removeprefix("daypass ") for name in documented_in("Exit code 3")}


def documented_in(heading: str) -> list[str]:
    """What the lists below a heading describe."""
    text = (PAGES / "exit-codes-and-environment.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^- `(.*?)`:", section, re.M)


def _source_of(name: str) -> str:
    path = ROOT / "src/daypass/cli" / name.replace(" ", "/").replace("-", "_")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text()
