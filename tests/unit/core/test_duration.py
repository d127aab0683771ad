"""Durations as people write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.clock import DURATION, format_duration, parse_duration, parse_seconds
from daypass._core.errors import UsageError
from support.messages import raises


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3600", 3600), ("90m", 5400), ("1h30m", 5400), ("1d", 86400), ("1d2h3m4s", 93784), ("0", 0)],
)
def test_a_duration_is_parsed(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "h", "1h2", "1m1h", "-1", "1.5h", "\u0663h", "9" * 30],
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with raises(UsageError, match=re.escape(repr(text))):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["0", "3600", "", "1h2"])
def test_a_duration_in_a_config_has_a_unit(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (90_061, "1d1h1m1s")])
def test_a_duration_is_written_with_the_largest_units(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.text(alphabet="0123456789dhms", max_size=12) | st.text(max_size=5))
def test_the_pattern_matches_what_is_parsed(text: str) -> None:
    assert bool(text and re.fullmatch(DURATION, text)) is (parse_duration(text) is not None)
