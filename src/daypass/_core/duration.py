"""Durations as people write them: `90m`, `1h30m`, `1d`, or seconds."""

from daypass._core.errors import UsageError

UNITS_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LIMIT_DIGITS = 10
DURATION = "".join(f"([0-9]{{1,{_LIMIT_DIGITS}}}{unit})?" for unit in UNITS_SECONDS)
"""The syntax as a pattern, for other programs. It matches the empty text, too."""


def parse_duration(text: str) -> int | None:
    """Return the seconds of `90m`, `1h30m` or `1d`; None for anything else.

    Whole numbers of d, h, m and s, in this order, each unit at most once.
    """
    total, digits, units = 0, "", "".join(UNITS_SECONDS)
    for character in text:
        if character in "0123456789" and len(digits) < _LIMIT_DIGITS:
            digits += character
        elif digits and character in units:
            total += int(digits) * UNITS_SECONDS[character]
            digits, units = "", units[units.index(character) + 1 :]
        else:
            return None
    return total if text and not digits else None


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
