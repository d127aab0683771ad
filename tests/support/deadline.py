"""Waiting for something that happens elsewhere, with a deadline and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from daypass._core.clock import SYSTEM_CLOCK

T = TypeVar("T")


def eventually(what: str, ask: Callable[[], T | None], *, seconds: float = 120.0) -> T:
    """The first answer of `ask` that is true, asked again and again.

    Raises TimeoutError, naming `what` was waited for and the last answer or error, when `seconds`
    have passed. Errors of the kind that a starting server causes (OSError) and failed assertions
    are asked over; everything else is raised at once.
    """
    ends = SYSTEM_CLOCK.monotonic() + seconds
    pause = 0.005
    while True:
        cause: Exception | None = None
        answer: T | None = None
        try:
            answer = ask()
            if answer:
                return answer
        except (OSError, AssertionError) as error:
            cause = error
        if SYSTEM_CLOCK.monotonic() >= ends:
            last = repr(cause if cause is not None else answer)
            raise TimeoutError(f"{what}: not within {seconds:g} s; last: {last}") from cause
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
