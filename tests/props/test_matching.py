"""Patterns that Envoy's matchers get, as Python's and RE2's grammars read them alike."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from daypass.render.envoy.xds import below

times = st.integers(min_value=0, max_value=10**10 - 1)


@given(closes=times, now=times, near=st.integers(min_value=-3, max_value=3))
@example(closes=1800000000, now=1800000000, near=-1)
@example(closes=0, now=0, near=0)
def test_a_pattern_matches_exactly_the_times_before_another(
    closes: int, now: int, near: int
) -> None:
    for at in (now, min(max(closes + near, 0), 10**10 - 1)):
        is_before = re.fullmatch(below(f"{closes:010}"), f"{at:010}") is not None
        assert is_before == (at < closes)
