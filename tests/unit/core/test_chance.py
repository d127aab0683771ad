"""Random delays, which spread events that would coincide."""

import random

from daypass._core.clock import jitter, random_fraction


def test_chance_neither_uses_nor_moves_a_seed_that_the_user_has_set() -> None:
    of_the_user = random.getstate()
    drawn = {random_fraction() for _ in range(100)}
    assert random.getstate() == of_the_user
    assert len(drawn) > 90  # of 2**32 values
    assert all(0 <= each < 1 for each in drawn)


def test_about_stays_within_a_fifth() -> None:
    drawn = [jitter(10) for _ in range(1000)]
    assert all(8 <= each < 12 for each in drawn)
    assert min(drawn) < 9 < 11 < max(drawn)
