"""docs/performance.md has a place for the table of each measurement, and keeps its prose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bench.__main__ import NAMES
from bench.report import PAGE, figure, write_table


def test_a_table_replaces_the_one_before_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("Before.\n\n<!-- bench: a -->\n\nold\n\n<!-- /bench -->\n\nAfter.\n")
    for rate in ("1 /s", "2 /s"):
        figure("ours | theirs", rate, ratio="1.5", bar=">= 1")
        write_table("a", page)
    before, _, rest = page.read_text().partition("<!-- bench: a -->\n")
    table, _, after = rest.partition("<!-- /bench -->")
    assert (before, after) == ("Before.\n\n", "\n\nAfter.\n")
    assert "| ours vs theirs | 2 /s | 1.5 | >= 1 |" in table
    assert "old" not in table
    assert "1 /s" not in table
    assert re.search(r"`a`, \d{4}-\d\d-\d\d: ", table)
    assert "ours | theirs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "ratio", "bar", "target"),
    [
        ("1", "0.5 (0.4-1.2)", ">= 0.9", ">= 0.9, missed"),
        ("1", "0.9", ">= 0.9", ">= 0.9"),
        ("1", "1.21 (1.0-1.3)", "<= 1.2", "<= 1.2, missed"),
        ("1", "0.5", "", ""),
        ("1", "", "<= 1 s", "<= 1 s"),
        ("1.624 s", "", "<= 1.5 s", "<= 1.5 s, missed"),
        ("+0.066 s (0.06-0.09)", "", "<= 0.08 s", "<= 0.08 s"),
        ("38 /s (35-39)", "", ">= 40 /s", ">= 40 /s, missed"),
        ("1624 ms", "", "<= 1.5 s", "<= 1.5 s"),
    ],
)
def test_the_table_says_which_targets_were_missed(
    tmp_path: Path, values: str, ratio: str, bar: str, target: str
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("<!-- bench: a -->\n<!-- /bench -->\n")
    figure("ours | theirs", values, ratio=ratio, bar=bar)
    write_table("a", page)
    assert f"| ours vs theirs | {values} | {ratio} | {target} |" in page.read_text()


def test_every_measurement_has_one_place_on_the_page() -> None:
    text = PAGE.read_text()
    assert [text.count(f"<!-- bench: {name} -->") for name in NAMES] == [1] * len(NAMES)
    assert text.count("<!-- /bench -->") == len(NAMES)


def test_a_page_without_the_place_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("Nothing.\n")
    with pytest.raises(ValueError, match="no place for bench: a"):
        write_table("a", page)
    assert page.read_text() == "Nothing.\n"
