"""The golden file of messages is sorted, and every entry belongs to a test."""

from __future__ import annotations

import os
import re
from functools import cache

from support.messages import GOLDEN, TESTS, read


def test_each_entry_belongs_to_an_existing_test() -> None:
    if os.environ.get("DAYPASS_GOLDEN") == "update":
        kept = [line for line in GOLDEN.read_text().splitlines() if _exists(line.split("\t")[0])]
        GOLDEN.write_text("".join(f"{line}\n" for line in kept))
    assert [case for case in read() if not _exists(case)] == []


def test_entries_are_sorted_and_each_case_has_one() -> None:
    lines = GOLDEN.read_text().splitlines()
    assert lines == sorted(lines, key=lambda line: line.split("\t"))
    assert len(read()) == len(lines)


def test_messages_of_the_library_name_no_option_of_a_command() -> None:
    options = re.compile(r"--(audience|lifetime|credentials|env|file|no-cache)\b")
    library = ("unit/client/", "integrations/")
    found = [
        case
        for case, (_, text) in read().items()
        if case.startswith(library) and options.search(text)
    ]
    assert found == []


def _exists(case: str) -> bool:
    path, _, rest = case.partition("::")
    return f"def {rest.partition(' ')[0].partition('[')[0]}(" in _source(path)


@cache
def _source(path: str) -> str:
    file = TESTS / path
    return file.read_text() if file.exists() else ""
