"""One exchange at a time for one question, however many ask it; the others share its outcome.

Threads and tasks wait in different ways, so there is a kind of flight for each.
"""

from __future__ import annotations

import threading

from daypass._core.errors import DaypassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import Any

    from daypass.client.token import Grant

    Question = tuple[str, int]


class _Flight:
    __slots__ = ("done", "outcome")

    def __init__(self) -> None:
        self.done = threading.Lock()
        self.done.acquire()
        self.outcome: Grant | DaypassError | None = None


class Flights:
    """Exchanges that threads wait for."""

    __slots__ = ("_lock", "_under_way")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Question, _Flight] = {}

    def share(self, question: Question, exchange: Callable[[], Grant]) -> Grant:
        """The outcome of the exchange that is under way for this question, or of a new one."""
        while True:
            with self._lock:
                other = self._under_way.get(question)
                own = self._under_way.setdefault(question, other or _Flight())
            if other is None:
                return self._fly(question, own, exchange)
            with other.done:
                pass
            if isinstance(other.outcome, DaypassError):
                raise other.outcome
            if other.outcome is not None:
                return other.outcome
            # Its thread was interrupted: somebody else has to do it.

    def _fly(self, question: Question, own: _Flight, exchange: Callable[[], Grant]) -> Grant:
        try:
            own.outcome = exchange()
            return own.outcome
        except DaypassError as error:
            own.outcome = error
            raise
        finally:
            with self._lock:
                del self._under_way[question]
            own.done.release()


class _AsyncFlight:
    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[Grant]) -> None:
        self.task = task
        self.waiting = 0


class AsyncFlights:
    """Exchanges that tasks wait for, those of each event loop apart."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, Question], _AsyncFlight] = {}

    async def share(
        self, question: Question, exchange: Callable[[], Coroutine[Any, Any, Grant]]
    ) -> Grant:
        """The outcome of the exchange that is under way for this question, or of a new one.

        It runs as a task of its own: who stops waiting does not stop it for the others, and the
        last one who does ends it.
        """
        import asyncio

        key = (asyncio.get_running_loop(), question)
        flight = self._under_way.get(key) or _AsyncFlight(asyncio.create_task(exchange()))
        if not flight.waiting:
            self._under_way[key] = flight
            flight.task.add_done_callback(lambda _: self._land(key, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def _land(self, key: tuple[asyncio.AbstractEventLoop, Question], flight: _AsyncFlight) -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # taken note of, though nobody may be waiting any more
