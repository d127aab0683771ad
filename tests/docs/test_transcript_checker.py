"""A program that prints something else than its page shows is found."""

from __future__ import annotations

import pytest

from docs.transcript import mistake_in

DIFFERENT = [
    ("a", ""),
    ("", "a\n"),
    ("a", "a\nb\n"),
    ("a\n...\nd", "a\nb\n"),
    ("valid for 1h", "valid for 2h\n"),
    ("https://localhost:8443/x", "https://localhost:8444/x\n"),
    ("a.c", "abc\n"),
]


@pytest.mark.parametrize(("shown", "printed"), DIFFERENT)
def test_another_output_is_a_difference(shown: str, printed: str) -> None:
    assert mistake_in(shown, printed)
