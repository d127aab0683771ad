"""When a token is replaced, and how long one waits after a failure. Pure decisions on seconds.

Everything is spread by chance, so that ten thousand clients that were started in one second, or
that all met the same broken door, do not come back in one second. `python -m bench fleet` runs
these very decisions over a day.
"""

from __future__ import annotations

SHARE_FIRST = (0.2, 0.75)
"""Where in its life a process' first token is replaced: anywhere, since all may have begun at
once. So is the first one after a failure: all may have waited for the same door."""
SHARE_LATER = (0.45, 0.75)
END_MARGIN_SECONDS = 10.0
"""So long before its end a token is not handed out any more: it has a way to go, and the gate's
clock may be ahead of the door's."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_ASKED_PAUSE_SECONDS = 600.0
"""What a Retry-After is obeyed up to: a slip in somebody's settings is not to last for years."""
RENEWAL_PAUSE_SECONDS = 10.0
LONGEST_RENEWAL_PAUSE_SECONDS = 600.0


def usable_seconds(lifetime_seconds: float) -> float:
    """For how long a token that has this long to live is handed out at most."""
    return max(0.0, lifetime_seconds - min(END_MARGIN_SECONDS, lifetime_seconds / 10))


def fresh_seconds(usable: float, chance: float, *, is_first: bool) -> float:
    """For how long nobody thinks about replacing a token that is usable this long."""
    low, high = SHARE_FIRST if is_first else SHARE_LATER
    return usable * (low + (high - low) * chance)


def backoff_seconds(failures: int, chance: float) -> float:
    """How long the door is let alone by everybody after so many failures in a row: 1, 2, 4... 30 s,
    from half of it to all of it."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance)


def requested_delay_seconds(asked: float, chance: float) -> float:
    """How long the door is let alone that has asked for it: everybody was told the same second, so
    from that on to a quarter more."""
    return min(asked, LONGEST_ASKED_PAUSE_SECONDS) * (1.0 + chance / 4)


def retry_delay_seconds(left: float, chance: float) -> float:
    """How long a refresh that failed is put off while there is a token that is good for `left`.

    Nobody is in a hurry then, and the longer it is good for, the wider the crowd spreads. It is a
    share of what is left, so another attempt always fits in.
    """
    return left * (0.1 + 0.8 * chance)


def renewal_delay_seconds(renewals: int) -> float:
    """How old a token has to be to be renewed because a server refuses it, after so many renewals
    that did not help: the first is at once, then 10, 20, 40... 600 s."""
    if not renewals:
        return 0.0
    return min(LONGEST_RENEWAL_PAUSE_SECONDS, RENEWAL_PAUSE_SECONDS * 2.0 ** min(renewals - 1, 16))
