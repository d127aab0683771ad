"""Back-off: delays double up to a limit, and a part of each is random."""

from daypass._core.clock import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=30)
    assert [backoff.seconds(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.seconds(1_000_000) == 30
