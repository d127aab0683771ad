"""Lengths of time as people write them."""

from daypass._core.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(text: str) -> int:
    """Seconds of `3600`, `90m`, `1h30m` or `1d` (units d, h, m, s; whole numbers, each unit once).

    Raises UsageError for anything else, and for nothing at all.
    """
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return int(text)
    total, digits, units = 0, "", "dhms"
    for character in text:
        if character in "0123456789" and len(digits) < 10:
            digits += character
        elif digits and character in units:
            total += int(digits) * _SECONDS[character]
            digits, units = "", units[units.index(character) + 1 :]
        else:
            break
    else:
        if text and not digits:
            return total
    raise UsageError(f"{text[:40]!r} is no length of time", "write it as 3600, 90m, 1h30m or 1d")
