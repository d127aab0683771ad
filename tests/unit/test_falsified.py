"""`make fuzz` prints decorators that can be pasted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.falsified import decorators


def test_a_failing_example_becomes_a_decorator_without_fixtures() -> None:
    @settings(database=None, derandomize=True)
    @given(number=st.integers(), texts=st.lists(st.text(), min_size=2))
    def too_large(fixture: object, number: int, texts: list[str]) -> None:
        assert number < 100

    with pytest.raises(AssertionError) as failed:
        too_large(object())
    (decorator,) = decorators(failed.value, ["fixture"])
    assert decorator.startswith("@example(\n    number=100,\n")
    assert "fixture" not in decorator
    compile(f"{decorator}\ndef test(): pass", "pasted", "exec")


def test_each_of_several_failures_becomes_a_decorator() -> None:
    @settings(database=None, derandomize=True)
    @given(number=st.integers())
    def two_faults(number: int) -> None:
        if number > 100:
            raise ValueError
        if number < -100:
            raise KeyError

    with pytest.raises(ExceptionGroup) as failed:
        two_faults()
    found = sorted(decorators(failed.value, []))
    assert found == ["@example(\n    number=-101,\n)", "@example(\n    number=101,\n)"]
