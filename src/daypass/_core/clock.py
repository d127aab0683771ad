"""Time as something that is handed in.

Chance for spreading what would happen at the same moment; nothing here is secret.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol
else:
    Protocol = object  # `typing` costs as much as all of the cached path of `daypass token`


class Clock(Protocol):
    """Where a piece of code gets its times from."""

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, for intervals."""


_BOOT = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; it goes on while a machine sleeps
if _BOOT is not None:
    try:
        time.clock_gettime(_BOOT)
    except OSError:
        _BOOT = None


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, for intervals."""
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


SYSTEM_CLOCK = SystemClock()


def utc(unix_seconds: float) -> "datetime":
    """An aware UTC datetime of seconds since the epoch."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix_seconds, UTC)


def random_fraction() -> float:
    """A number from 0 up to 1.

    From the system: a seed that a user has set for `random` is neither used nor moved on, and
    processes that set the same one do not wait alike.
    """
    return int.from_bytes(os.urandom(4), "big") / 2**32  # `random` would load hashlib


def jitter(seconds: float) -> float:
    """`seconds`, a fifth more or less."""
    return seconds * (0.8 + 0.4 * random_fraction())
