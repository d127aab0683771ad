"""Each failure in docs/reference/gate-failures.md names the tests that verify it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = "| what fails | engine | check | the gate |"
NAMED = re.compile(r"<!-- (.*?) -->")


def rows() -> list[str]:
    text = (ROOT / "docs" / "reference" / "gate-failures.md").read_text()
    table, _, _ = text.partition(HEAD)[2].partition("\n\n")
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef))


def test_the_table_is_found() -> None:
    assert len(rows()) > 40


@pytest.mark.parametrize("row", rows(), ids=[str(number) for number, _ in enumerate(rows())])
def test_a_row_names_tests_that_exist(row: str) -> None:
    (named,) = NAMED.findall(row)
    for test in named.split():
        path, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in names_in(path), test
