"""Clocks, which callers pass in; timestamps of Kubernetes and HTTP; durations; random delays."""

from __future__ import annotations

import os
import time

from daypass._core.errors import UsageError
from daypass._core.record import Record

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
_HTTP_DATE = (
    r"\w{3}, (?P<d>[0-9]{2}) (?P<month>\w{3}) (?P<y>[0-9]{4})"
    r" (?P<h>[0-9]{2}):(?P<m>[0-9]{2}):(?P<s>[0-9]{2}) GMT"
)


def utc(unix_seconds: float) -> datetime:
    """Return seconds since the epoch as an aware UTC datetime."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix_seconds, UTC)


def parse_rfc3339(text: str) -> datetime | None:
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


def deadline_unix(text: str | None) -> float:
    """Return when a deadline (RFC 3339) is, as seconds since the epoch: infinity for none, and
    minus infinity for one that cannot be read, so that it counts as passed.
    """
    if text is None:
        return float("inf")
    parsed = parse_rfc3339(text)
    return float("-inf") if parsed is None else parsed.timestamp()


def age_seconds(created: str, clock: Clock) -> float:
    """Return the age of an object with this creationTimestamp; 0 if it has none."""
    parsed = parse_rfc3339(created)
    return clock.unix() - parsed.timestamp() if parsed else 0.0


def parse_http_date(text: str) -> float | None:
    """Return a date such as `Tue, 24 Nov 2026 16:00:00 GMT` as seconds since the epoch, or None.

    The two obsolete formats of RFC 9110, section 5.6.7, are not supported.
    """
    import re
    from datetime import UTC, datetime

    found = re.fullmatch(_HTTP_DATE, text)
    if found is None or found["month"] not in _MONTHS:
        return None
    month = _MONTHS.index(found["month"]) + 1
    year, day, hour, minute, second = (int(found[x]) for x in ("y", "d", "h", "m", "s"))
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()


def rfc3339(moment: datetime) -> str:
    """Return a time in Kubernetes's format, whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def random_fraction() -> float:
    """Return a random number from 0 up to 1, for delays and not for secrets.

    It comes from the system: the state of `random` is neither used nor changed, and processes with
    the same seed do not wait equally long.
    """
    return int.from_bytes(os.urandom(4), "big") / 2**32  # `random` would load hashlib


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


# -- durations

UNITS_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LIMIT_DIGITS = 10
DURATION = "".join(f"([0-9]{{1,{_LIMIT_DIGITS}}}{unit})?" for unit in UNITS_SECONDS)
"""The syntax as a pattern, for other programs. It matches the empty text, too."""


def parse_duration(text: str) -> int | None:
    """Return the seconds of `90m`, `1h30m` or `1d`; None for anything else.

    Whole numbers of d, h, m and s, in this order, each unit at most once.
    """
    import re  # here: a cached token needs none

    found = re.fullmatch(DURATION, text)
    if found is None or not text:
        return None
    amounts = filter(None, found.groups())
    return sum(int(amount[:-1]) * UNITS_SECONDS[amount[-1]] for amount in amounts)


def parse_seconds(text: str, option: str = "") -> int:
    """Return the seconds of a duration or of a plain number. Raises UsageError.

    `option`: the one that has this value, for the message. A `type` of argparse needs none.
    """
    if text.isascii() and text.isdigit() and len(text) <= _LIMIT_DIGITS:
        return int(text)
    seconds = parse_duration(text)
    if seconds is None:
        fact = f"{option}: {text[:40]!r} is not a duration".removeprefix(": ")
        raise UsageError(fact, "write it as 3600, 90m, 1h30m or 1d")
    return seconds


def format_duration(seconds: int) -> str:
    """Return seconds as one would write them: 5400 is `1h30m`."""
    written = ""
    for unit, length in UNITS_SECONDS.items():
        amount, seconds = divmod(seconds, length)
        written += f"{amount}{unit}" if amount else ""
    return written or "0s"
