"""Clocks, which callers pass in; timestamps of Kubernetes and HTTP; and random delays."""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol
else:
    Protocol = object


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

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def utc(unix_seconds: float) -> "datetime":
    """Return seconds since the epoch as an aware UTC datetime."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix_seconds, UTC)


def parse_rfc3339(text: str) -> "datetime | None":
    """Return a timestamp such as `2026-11-24T16:00:00Z` (RFC 3339) as aware UTC, or None."""
    if len(text) < 20 or text[10] not in "Tt ":
        return None
    from datetime import UTC, datetime

    try:
        value = datetime.fromisoformat(text)
        return None if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_in(clock: Clock, seconds: float) -> str:
    """Return the time so many seconds from now (RFC 3339)."""
    return rfc3339(utc(clock.unix() + seconds))


def is_past(text: str | None, clock: Clock) -> bool:
    """Return whether a time (RFC 3339) has passed; False for none, and for what is none."""
    parsed = parse_rfc3339(text) if text else None
    return parsed is not None and parsed.timestamp() <= clock.unix()


def age_seconds(created: str, clock: Clock) -> float:
    """Return the age of an object with this creationTimestamp; 0 if it has none."""
    parsed = parse_rfc3339(created)
    return clock.unix() - parsed.timestamp() if parsed else 0.0


def parse_http_date(text: str) -> float | None:
    """Return a date such as `Tue, 24 Nov 2026 16:00:00 GMT` as seconds since the epoch, or None.

    The two obsolete formats of RFC 9110, section 5.6.7, are not supported.
    """
    parts = text.split(" ")
    if len(parts) != 6 or parts[5] != "GMT" or parts[2] not in _MONTHS:
        return None
    day, year, clock = parts[1], parts[3], parts[4].split(":")
    if not all(x.isascii() and x.isdigit() for x in (day, year, *clock)) or len(clock) != 3:
        return None
    from datetime import UTC, datetime

    hour, minute, second = (int(x[:3]) for x in clock)
    try:
        moment = datetime(
            int(year[:5]),
            _MONTHS.index(parts[2]) + 1,
            int(day[:3]),
            hour,
            minute,
            min(second, 59),
            tzinfo=UTC,
        )
    except (ValueError, OverflowError):
        return None
    return moment.timestamp()


def rfc3339(moment: "datetime") -> str:
    """Return a time in Kubernetes's format, whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def random_fraction() -> float:
    """Return a random number from 0 up to 1, for delays and not for secrets.

    It comes from the system: the state of `random` is neither used nor changed, and processes with
    the same seed do not wait equally long.
    """
    return int.from_bytes(os.urandom(4), "big") / 2**32  # `random` would load hashlib
