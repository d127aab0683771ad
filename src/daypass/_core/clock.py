"""Clocks, which callers pass in, and random delays that spread simultaneous requests."""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol
else:
    Protocol = object  # `typing` costs as much as all of the cached path of `daypass token`


class Clock(Protocol):
    """Where code gets the time from."""

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, for intervals."""


_BOOT = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; it runs while the machine is suspended
if _BOOT is not None:
    try:
        time.clock_gettime(_BOOT)
    except OSError:
        _BOOT = None


class SystemClock:
    """The clocks of this machine."""

    __slots__ = ()

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, for intervals."""
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


SYSTEM_CLOCK = SystemClock()


def utc(unix_seconds: float) -> "datetime":
    """Return seconds since the epoch as an aware UTC datetime."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix_seconds, UTC)


def random_fraction() -> float:
    """Return a random number from 0 up to 1, for delays and not for secrets.

    It comes from the system: the state of `random` is neither used nor changed, and processes with
    the same seed do not wait equally long.
    """
    return int.from_bytes(os.urandom(4), "big") / 2**32  # `random` would load hashlib


def jitter(seconds: float) -> float:
    """Return `seconds`, up to a fifth more or less."""
    return seconds * (0.8 + 0.4 * random_fraction())
