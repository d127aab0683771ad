"""Back-off: how long to wait between attempts that fail. Every loop that tries again uses it."""

from __future__ import annotations

from daypass._core.record import Record


class Backoff(Record):
    """Delays that double with every failure in a row: `first_seconds`, up to `longest_seconds`.

    `jitter`: the part of a delay that is random, so that those that failed together do not come
    back together: with 0.5, a delay is at least half as long; with 0, it is not random.
    """

    first_seconds: float
    longest_seconds: float
    jitter: float = 0.0

    def seconds(self, failures: int, random: float = 1.0) -> float:
        """Return the delay after this many failures in a row, at least one.

        `random`: from 0 up to 1. Without it, the delay is the longest possible.
        """
        delay = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 32))
        return delay * (1.0 - self.jitter * (1.0 - random))
