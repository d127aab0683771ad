"""An exchange that is under way, and those who wait for it: threads and tasks of any event loop."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass._core.errors import DaypassError


class InFlight:
    """One exchange. It lands once: with `error`, or without one; without a token either if whoever
    flew it was interrupted, and then somebody else has to."""

    __slots__ = ("_is_claimed", "_landing", "_wakers", "error", "has_landed", "thread")

    def __init__(self) -> None:
        self.error: DaypassError | None = None
        self.has_landed = False
        self.thread = 0
        """The identity of the thread that flies it; 0 until it has taken off."""
        self._is_claimed = False
        self._landing = threading.Lock()
        self._landing.acquire()
        self._wakers: list[Callable[[], object]] = []

    def claim(self) -> bool:
        """Whether it is this caller who flies it: the first one, and nobody else."""
        if self._is_claimed:
            return False
        self._is_claimed = True
        return True

    def land(self, error: DaypassError | None) -> None:
        """It is over: wake all who wait."""
        self.error = error
        self.has_landed = True
        self._landing.release()
        while self._wakers:
            self._wakers.pop()()

    def wait(self, timeout_seconds: float) -> bool:
        """Hold this thread up until it has landed. False where that has not come about, and at
        once where it is this very thread that would have to fly on."""
        if self.thread == threading.get_ident() and not self.has_landed:
            return False
        if not self._landing.acquire(timeout=timeout_seconds):
            return False
        self._landing.release()
        return True

    async def wait_async(self, timeout_seconds: float) -> bool:
        """The same for a task."""
        import asyncio
        from contextlib import suppress

        loop = asyncio.get_running_loop()
        landed: asyncio.Future[None] = loop.create_future()

        def note() -> None:
            if not landed.done():
                landed.set_result(None)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(note)

        self._wakers.append(wake)
        if not self.has_landed:
            await asyncio.wait((landed,), timeout=timeout_seconds)
        return self.has_landed
