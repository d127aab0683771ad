"""docs/performance.md has a place for the table of each measurement."""

from __future__ import annotations

from bench.__main__ import NAMES
from bench.report import PAGE


def test_every_measurement_has_one_place_on_the_page() -> None:
    text = PAGE.read_text()
    assert [text.count(f"<!-- bench: {name} -->") for name in NAMES] == [1] * len(NAMES)
    assert text.count("<!-- /bench -->") == len(NAMES)
