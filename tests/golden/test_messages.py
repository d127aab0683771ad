"""The golden file of messages is sorted, and has each message once, with its reason."""

from __future__ import annotations

import re

from support.messages import GOLDEN


def test_entries_are_sorted_and_there_once() -> None:
    lines = GOLDEN.read_text().splitlines()
    assert lines == sorted(set(lines))
    assert [line for line in lines if not re.fullmatch(r"[^\t]*\t[^\t]+", line)] == []
