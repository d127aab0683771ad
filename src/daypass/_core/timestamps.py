"""Timestamps of Kubernetes (RFC 3339) and of HTTP headers."""

from __future__ import annotations

from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_rfc3339(text: str) -> datetime | None:
    """Return a timestamp such as `2026-11-24T16:00:00Z` (RFC 3339) as aware UTC, or None."""
    if len(text) < 20 or text[10] not in "Tt ":
        return None
    try:
        value = datetime.fromisoformat(text)
        return None if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


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
    hour, minute, second = (int(x[:3]) for x in clock)
    try:
        moment = datetime(
            int(year[:5]), _MONTHS.index(parts[2]) + 1, int(day[:3]), hour, minute, min(second, 59),
            tzinfo=UTC,
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None
    return moment.timestamp()


def rfc3339(moment: datetime) -> str:
    """Return a time in Kubernetes's format, whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
