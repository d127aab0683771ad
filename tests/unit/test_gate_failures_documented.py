"""Each failure of the gate and each threat that the documentation lists names its tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TABLES = {
    "reference/gate-refusals.md": "| what fails | engine | check | the gate |",
    "explanation/threat-model.md": "| | where | threat | defence | tests |",
}
NAMED = re.compile(r"<!-- (.*?) -->")
LINKED = re.compile(r"\]\(\.\./\.\./(tests/[^)]+)\)")


def rows_of(page: str) -> list[str]:
    table, _, _ = (DOCS / page).read_text().partition(TABLES[page])[2].partition("\n\n")
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


ROWS = {f"{page}-{number}": row for page in TABLES for number, row in enumerate(rows_of(page))}


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


@pytest.mark.parametrize(
    ("page", "at_least"), [("reference/gate-refusals.md", 41), ("explanation/threat-model.md", 30)]
)
def test_the_table_is_found(page: str, at_least: int) -> None:
    assert len(rows_of(page)) >= at_least


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_names_tests_that_exist(row: str) -> None:
    (named,) = NAMED.findall(row)
    for test in named.split():
        path, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in names_in(path), test


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_links_of_a_row_lead_to_the_files_of_its_tests(row: str) -> None:
    (named,) = NAMED.findall(row)
    if linked := LINKED.findall(row):
        assert linked == list(dict.fromkeys(test.partition("::")[0] for test in named.split()))
