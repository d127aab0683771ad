"""Each line of the page "Your client" stands in a test of that client.

A row names the files, or the folders of files, in a comment. Tests run the pages that it names.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from tools.docs.pages import ROOT

PAGE = ROOT / "docs/how-to/your-client.md"
COLUMNS = "| client | what you write | new tokens | a refusal |"
REASON_COLUMNS = "| client | what you see | where the reason is |"
WORD = re.compile(r"[\w-]*\w[\w-]*|--")
F_STRING = re.compile(r"""(?<![\w-])f("[^"]*"|'[^']*')""")
PLACEHOLDERS = frozenset({"url", "host", "authority", "name", "program", "error", "f"})
"""Any one word, or any f-string (`f`), of a test may stand in the place of such a word."""
SUFFIXES = frozenset({".py", ".mjs", ".go", ".java", ".md"})


def rows_of(page: str, columns: str) -> list[list[str]]:
    """The cells of each row of each table with these columns."""
    tables = (after.partition("\n\n")[0] for after in page.split(columns)[1:])
    lines = [line for table in tables for line in table.strip().splitlines()[1:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def spans_of(cell: str) -> list[str]:
    return [span.replace(r"\|", "|") for span in re.findall(r"`([^`]+)`", cell)]


def words_of(code: str) -> list[str]:
    """The words of code. Punctuation does not count, so a command may be a list in a test."""
    return WORD.findall(F_STRING.sub(" F ", code).lower())


@cache
def words_in(path: str) -> list[list[str]]:
    """The words of a file, or of each file in a folder."""
    place = ROOT / path
    files = [place] if place.is_file() else sorted(place.iterdir())
    return [words_of(file.read_text()) for file in files if file.suffix in SUFFIXES]


def stands_in(span: str, path: str) -> bool:
    """Whether a file has the words of a span, one after the other."""
    wanted = words_of(span.removeprefix("daypass "))  # tests have other names of the program
    return any(
        all(
            each in (there, *PLACEHOLDERS)
            for each, there in zip(wanted, words[start : start + len(wanted)], strict=True)
        )
        for words in words_in(path)
        for start in range(len(words) - len(wanted) + 1)
    )


ROWS = rows_of(PAGE.read_text(), COLUMNS)
REASONS = rows_of(PAGE.read_text(), REASON_COLUMNS)


def named(row: list[str]) -> str:
    return re.sub(r"\W+", "-", row[0]).strip("-")


def test_the_tables_are_found() -> None:
    assert len(ROWS) >= 20
    assert len(REASONS) >= 5


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_each_line_of_a_client_stands_in_its_test(row: list[str]) -> None:
    client, code, _, last = row
    assert spans_of(code), client
    assert missing(spans_of(code), last) == []


@pytest.mark.parametrize("row", REASONS, ids=named)
def test_where_a_reason_is_stands_in_a_test(row: list[str]) -> None:
    assert missing(spans_of(row[2]), row[2]) == []


def missing(spans: list[str], cell: str) -> list[str]:
    """The spans that are in none of the files that the comment in a cell names."""
    (paths,) = re.findall(r"<!-- (.*?) -->", cell)
    assert all(re.match(r"(tests|examples|docs/reference)/?", path) for path in paths.split())
    return [span for span in spans if not any(stands_in(span, each) for each in paths.split())]
