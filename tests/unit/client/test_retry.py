"""Failures in a row delay the next try."""

from __future__ import annotations

import pytest

from daypass._core.clock import Backoff
from daypass.client.errors import CredentialsError, DoorBusyError, DoorUnreachableError
from daypass.client.retry import Failures
from support.timing import FakeTiming

UNREACHABLE = DoorUnreachableError("the door is down")
REFUSED = CredentialsError("the credentials are wrong")


def delays(failures: Failures, error: Exception, timing: FakeTiming, count: int) -> list[float]:
    found = []
    for _ in range(count):
        failures.add(error, timing)
        found.append(failures.due_seconds(timing.clock))
    return found


@pytest.mark.parametrize("error", [UNREACHABLE, REFUSED, OSError()])
def test_delays_grow_to_half_a_minute_of_which_half_is_random(error: Exception) -> None:
    longest, least = FakeTiming(jitter=1.0), FakeTiming(jitter=0.0)
    assert delays(Failures(), error, longest, 7) == [1, 2, 4, 8, 16, 30, 30]
    assert delays(Failures(), error, least, 7) == [0.5, 1, 2, 4, 8, 15, 15]


def test_errors_that_only_a_person_can_fix_may_have_delays_of_their_own() -> None:
    failures = Failures(Backoff(first_seconds=10, longest_seconds=300))
    assert delays(failures, REFUSED, FakeTiming(), 2) == [10, 20]
    failures.clear()
    assert delays(failures, OSError(), FakeTiming(jitter=1.0), 1) == [1]


@pytest.mark.parametrize(
    ("after", "jitter", "expected"), [(0.1, 1.0, 1), (40, 0.0, 40), (40, 1.0, 50), (1e9, 0.0, 600)]
)
def test_retry_after_takes_precedence_if_it_is_longer_up_to_ten_minutes(
    after: float, jitter: float, expected: float
) -> None:
    error = DoorBusyError("too many requests", retry_after_seconds=after)
    assert delays(Failures(), error, FakeTiming(jitter=jitter), 1) == [expected]
