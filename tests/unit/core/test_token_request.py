"""Which lifetimes and audiences a TokenRequest may ask for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.kubernetes.syntax import is_audience, is_lifetime


@pytest.mark.parametrize(
    ("seconds", "longest", "expected"),
    [
        (599, 2**32, False),
        (600, 2**32, True),
        (2**32, 2**32, True),
        (2**32 + 1, 2**32, False),
        (3601, 3600, False),
    ],
)
def test_a_lifetime_is_within_the_bounds_of_the_api_server(
    seconds: int, longest: int, expected: bool
) -> None:
    assert is_lifetime(seconds, longest) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gate", True),
        ("a" * 253, True),
        ("a" * 254, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("ä", False),
    ],
)
def test_an_audience_is_short_visible_ascii(text: str, expected: bool) -> None:
    assert is_audience(text) is expected


@given(st.text())
def test_no_audience_needs_escaping(text: str) -> None:
    assert not is_audience(text) or not re.search(r"[^!-~]|[\"'`\\]", text)
