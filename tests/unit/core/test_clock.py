"""Clocks, and random delays."""

import random
from datetime import UTC

from daypass._core.clock import SYSTEM_CLOCK, jitter, random_fraction, utc


def test_the_system_clock_gives_seconds() -> None:
    assert SYSTEM_CLOCK.unix() > 1_700_000_000
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
    assert utc(0).tzinfo is UTC


def test_a_random_delay_neither_uses_nor_changes_the_state_of_random() -> None:
    of_the_user = random.getstate()
    drawn = {random_fraction() for _ in range(100)}
    assert random.getstate() == of_the_user
    assert len(drawn) > 90  # of 2**32 values
    assert all(0 <= each < 1 for each in drawn)


def test_jitter_stays_within_a_fifth() -> None:
    drawn = [jitter(10) for _ in range(1000)]
    assert all(8 <= each < 12 for each in drawn)
    assert min(drawn) < 9 < 11 < max(drawn)
