"""Everything about time that an exchange needs, as one thing that is handed in."""

from __future__ import annotations

import time

from daypass._core.clock import SYSTEM_CLOCK, random_fraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daypass._core.clock import Clock

EXCHANGE_SECONDS = 30.0
"""How long a whole exchange may take: name, connection, TLS, answer, and all further tries."""


class Timing:
    """A clock, two ways to wait, and the chance that spreads clients that wait alike.

    `chance` gives a number from 0 up to 1. `begin` has something done in the background; raises
    RuntimeError where that is not possible any more. `exchange_seconds` is the deadline of one
    exchange.
    """

    __slots__ = ("begin", "chance", "clock", "exchange_seconds", "sleep", "sleep_async")

    def __init__(
        self,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        sleep_async: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        begin: Callable[[Callable[[], None]], None],
        exchange_seconds: float = EXCHANGE_SECONDS,
    ) -> None:
        self.clock = clock
        self.sleep = sleep
        self.sleep_async = sleep_async
        self.chance = chance
        self.begin = begin
        self.exchange_seconds = exchange_seconds


async def _sleep_async(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def _begin(work: Callable[[], None]) -> None:
    import threading

    # A daemon: the interpreter does not wait for it. It ends with its work, a deadline at most.
    threading.Thread(target=work, name="daypass-refresh", daemon=True).start()


SYSTEM_TIMING = Timing(
    clock=SYSTEM_CLOCK,
    sleep=time.sleep,
    sleep_async=_sleep_async,
    chance=random_fraction,
    begin=_begin,
)
