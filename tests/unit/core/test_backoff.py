"""Back-off: delays double up to a limit, and a part of each is random."""

from daypass._core.clock import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=30)
    assert [backoff.seconds(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.seconds(1_000_000) == 30


def test_only_the_part_that_is_random_varies() -> None:
    backoff = Backoff(first_seconds=2, longest_seconds=30, jitter=0.25)
    assert backoff.seconds(1, 0.0) == 1.5
    assert backoff.seconds(1, 1.0) == backoff.seconds(1) == 2
    assert backoff.seconds(9, 0.0) == 22.5
