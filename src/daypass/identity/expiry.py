"""Moments at which something is to end, as annotations hold them."""

from __future__ import annotations

from daypass._core.clock import Clock, utc
from daypass._core.timestamps import parse_rfc3339, rfc3339

LONGEST_SECONDS = 100 * 366 * 86_400
"""A century from now: what is to end later is a slip of the hand, or outside the calendar."""


def in_seconds(clock: Clock, seconds: float) -> str:
    """The moment so many seconds from now, for an annotation."""
    return rfc3339(utc(clock.unix() + seconds))


def is_past(moment: str | None, clock: Clock) -> bool:
    """Whether an annotated moment has come. One that cannot be read has not."""
    parsed = parse_rfc3339(moment) if moment else None
    return parsed is not None and parsed.timestamp() <= clock.unix()


def age_seconds(created: str, clock: Clock) -> float:
    """How old an object of this creationTimestamp is; 0 where it has none."""
    parsed = parse_rfc3339(created)
    return clock.unix() - parsed.timestamp() if parsed else 0.0
