"""Each failure of the gate that the documentation lists names its tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "gate-refusals.md"
TABLE = "| what fails | engine | check | the gate |"
NAMED = re.compile(r"<!-- (.*?) -->")
LINKED = re.compile(r"\]\(\.\./\.\./(tests/[^)]+)\)")


def rows() -> list[str]:
    table, _, _ = PAGE.read_text().partition(TABLE)[2].partition("\n\n")
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


ROWS = rows()


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


def test_the_table_is_found() -> None:
    assert len(ROWS) >= 41


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_a_row_names_tests_that_exist(row: str) -> None:
    (named,) = NAMED.findall(row)
    for test in named.split():
        path, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in names_in(path), test


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_the_links_of_a_row_lead_to_the_files_of_its_tests(row: str) -> None:
    (named,) = NAMED.findall(row)
    if linked := LINKED.findall(row):
        assert linked == list(dict.fromkeys(test.partition("::")[0] for test in named.split()))
