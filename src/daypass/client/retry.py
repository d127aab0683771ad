"""What happens after a failed exchange: which failures are retried, and when.

- Within a call, `repeat` tries a few times until the deadline.
- Between calls, `Failures` delays the next one: of a KeyState, or for a file of the agent. While a
  token is still usable, `key_state` tries once at a time.
- With POLL, a process waits for the exchange of another process (`shared_cache`).

All delays are spread at random: ten thousand clients that started in the same second, or that met
the same broken door, do not come back in the same second.
"""

from __future__ import annotations

from daypass._core.clock import Backoff
from daypass._core.errors import DaypassError
from daypass.client.errors import TemporaryError, copied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from daypass._core.clock import Clock
    from daypass.client.transport import Deadline, Timing

    T = TypeVar("T")

TRIES = 4
"""How often a request of a call is sent at most."""
WITHIN_CALL = Backoff(first_seconds=0.5, longest_seconds=4.0, jitter=0.5)
LONGEST_RETRY_AFTER_WITHIN_CALL_SECONDS = 10.0
"""A longer Retry-After is not waited for: it is an error."""
BETWEEN_CALLS = Backoff(first_seconds=1.0, longest_seconds=30.0, jitter=0.5)
LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A longer Retry-After is limited to this: a misconfigured one must not last for years."""
RENEWALS = Backoff(first_seconds=10.0, longest_seconds=600.0)
"""The minimum age of a token that is renewed because a server rejects it, after renewals in a
row: the first one is immediate."""
POLL = Backoff(first_seconds=0.03, longest_seconds=0.45, jitter=2 / 3)


def repeat(attempt: Callable[[], T], deadline: Deadline, timing: Timing, tries: int) -> T:
    """Return what `attempt` returns, of as many tries as the deadline allows.

    Retries after a TemporaryError that says so, and after nothing else. Raises the last error.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except TemporaryError as error:
            failures += 1
            pause = _pause(error, failures, timing.jitter())
            if failures == tries or pause is None or pause >= deadline.seconds_left():
                raise
        timing.sleep(pause)


def _pause(error: TemporaryError, failures: int, jitter: float) -> float | None:
    """Return how long to wait within a call; None if there is no next try."""
    after = error.retry_after_seconds
    if not error.is_retried:
        return None
    if after is None:
        return WITHIN_CALL.seconds(failures, jitter)
    if after > LONGEST_RETRY_AFTER_WITHIN_CALL_SECONDS:
        return None
    # All clients receive the same Retry-After: spread them a little beyond it.
    return after + jitter / 4


class Failures:
    """The failures in a row of something that is tried again and again.

    `permanent`: the back-off after errors that only a person can fix.
    """

    def __init__(self, permanent: Backoff = BETWEEN_CALLS) -> None:
        self.count = 0
        self._permanent = permanent
        self._error: DaypassError | None = None
        self._not_before = 0.0

    def add(self, error: Exception, timing: Timing) -> None:
        """Count a failure, which delays the next try."""
        self.count += 1
        self._error = error if isinstance(error, DaypassError) else None
        self._not_before = timing.clock.monotonic() + self._delay(error, timing.jitter())

    def clear(self) -> None:
        """Forget them: a try was successful, or the next one must not wait."""
        self.count, self._error, self._not_before = 0, None, 0.0

    def due_seconds(self, clock: Clock) -> float:
        """Return how long to wait for the next try; 0 if it is due."""
        return max(0.0, self._not_before - clock.monotonic())

    def pending_error(self, clock: Clock) -> DaypassError | None:
        """Return the last error for a caller that comes before the next try is due, or None."""
        left = self.due_seconds(clock)
        if self._error is None or not left:
            return None
        error = copied(self._error)
        if error.heals_by_itself:
            when = f"the next attempt is in {left:.0f} s"
            error.hint = f"{error.hint}\n{when}" if error.hint else when
            error.args = (error.fact, error.hint)
        return error

    def _delay(self, error: Exception, jitter: float) -> float:
        is_permanent = isinstance(error, DaypassError) and not error.heals_by_itself
        delay = (self._permanent if is_permanent else BETWEEN_CALLS).seconds(self.count, jitter)
        after = error.retry_after_seconds if isinstance(error, TemporaryError) else None
        if after is None:
            return delay
        # Up to a quarter longer, since all clients receive the same value.
        return max(delay, min(after, LONGEST_RETRY_AFTER_SECONDS) * (1.0 + jitter / 4))
