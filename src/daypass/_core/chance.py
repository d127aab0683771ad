"""Chance for spreading what would happen at the same moment; nothing here is secret."""

import os


def chance() -> float:
    """A number from 0 up to 1.

    From the system: a seed that a user has set for `random` is neither used nor moved on, and
    processes that set the same one do not wait alike.
    """
    return int.from_bytes(os.urandom(4), "big") / 2**32  # `random` would load hashlib


def about(seconds: float) -> float:
    """`seconds`, a fifth more or less."""
    return seconds * (0.8 + 0.4 * chance())
