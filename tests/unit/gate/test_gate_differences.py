"""docs/reference/gate-refusals.md contains the table that the tests of the engines verify."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from support import hostile_targets
from support.gate_differences import DIFFERENCES, as_table
from support.single_changes import Keys, single_changes
from support.tokens import AUDIENCE, ISSUER, Signer

GATE_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "gate-refusals.md"
SIGNER = Signer()
CHANGES = single_changes(Keys(ours=SIGNER, stranger=SIGNER, issuer=ISSUER, audience=AUDIENCE))


@pytest.mark.parametrize("table", [as_table(), hostile_targets.as_table()])
def test_the_docs_have_the_tables_of_the_tests(table: str) -> None:
    assert table in GATE_PAGE.read_text(), f"the table is now:\n{table}"


def test_each_row_names_existing_changes() -> None:
    for row in DIFFERENCES:
        for pattern in row.changes:
            assert any(fnmatchcase(name, pattern) for name in CHANGES), pattern
