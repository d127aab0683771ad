"""What Hypothesis tries is the same each time, whatever else is imported."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers


@given(number=st.integers())
def test_no_constant_of_the_source_is_among_the_examples(number: int) -> None:
    assert len(providers._get_local_constants()) == 0
