"""Work on threads: requests at the same time, a value that is fetched again and again, and an event
loop that runs next to other work.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.errors import DaypassError

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
THREADS = 4
"""More are not faster for few requests, and each costs a handshake."""

R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Iterable[T], *, threads: int = THREADS) -> list[R]:
    """Return the results of `work` in order; several run at a time.

    The first error is raised once all calls that have begun are done; the others never begin.
    """
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, item) for item in todo]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class Poller(Generic[T]):
    """Calls `fetch` on a thread of its own: every `every_seconds` from `start` to `stop`, and when
    `refresh` asks for it.

    `latest`: the last value; None before the first. `last_error`: why the last call failed, or "".
    `began_at`: when the last call was asked for (monotonic). `fetched_at`: when the last one that
    succeeded was, or None. `fetching`: done after the call that
    is in progress or asked for; None if none is.
    """

    def __init__(
        self, fetch: Callable[[], T], every_seconds: float, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.latest: T | None = None
        self.last_error = ""
        self.began_at = -math.inf
        self.fetched_at: float | None = None
        self._fetch = fetch
        self._every_seconds = every_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self.fetching: Future[None] | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="daypass-poller", daemon=True)

    def start(self) -> None:
        """Fetch in the background; at once, unless `fetch` was called before."""
        if self.began_at == -math.inf:
            self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting for a call in progress."""
        self._is_stopped = True
        self._wanted.set()

    def refresh(self) -> Future[None]:
        """Fetch at once in the background; return what is done after that. While it fetches, that
        is all: no second call follows.
        """
        with self._lock:
            fetching = self.fetching
            if fetching is None:
                fetching = self._begin()
                self._wanted.set()
            return fetching

    def fetch(self) -> None:
        """Fetch once on this thread. An error is kept in `last_error`."""
        with self._lock:
            self._wanted.clear()
            done = self.fetching or self._begin()
        try:
            self.latest = self._fetch()
            self.fetched_at = self.began_at
            self.last_error = ""
        except DaypassError as error:
            self.last_error = str(error)
        except Exception as error:  # whatever it is, it has to be reported, and tried again
            self.last_error = f"unexpected {type(error).__name__}"
        finally:
            # Before `done`: who waits for that finds nothing in progress, and the new value.
            self.fetching = None
            done.set_result(None)

    def _begin(self) -> Future[None]:
        self.began_at = self._clock.monotonic()
        self.fetching = done = Future[None]()
        done.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        return done

    def _run(self) -> None:
        while True:
            self._wanted.wait(self._every_seconds)
            if self._is_stopped:
                return
            self.fetch()


class LoopThread(Generic[T]):
    """Enters a context at `start`, and leaves it at `stop`, or when its loop ends for another
    reason; `error` is that reason.

    What runs is an async context manager: it is up once it is entered, and down once it is left.
    `make_loop`: makes the event loop; None: asyncio's own.
    """

    def __init__(
        self,
        name: str,
        context: AbstractAsyncContextManager[T],
        make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.error: Exception | None = None
        self._context = context
        self._make_loop = make_loop
        self._entered: Future[T] = Future()
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the event loop runs."""
        return self._thread.is_alive()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, once it was started."""
        if self._main is None:
            raise RuntimeError("it was not started")
        return self._main.get_loop()

    def start(self, timeout_seconds: float | None = None) -> T:
        """Enter the context; return what it returns, or raise what it raises, or TimeoutError."""
        import asyncio  # here: most commands need none

        make_loop = self._make_loop or asyncio.new_event_loop
        self._main = make_loop().create_task(self._stay())
        self._thread.start()
        try:
            return self._entered.result(timeout_seconds)
        except BaseException:
            self.stop(timeout_seconds)
            raise

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the event loop, soon; do nothing if that has ended."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function, *arguments)

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Leave the context, and wait for that. A second call does nothing."""
        if self._main is not None:
            self.call(self._main.cancel)
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        import asyncio

        # The runner cancels what is left, so that the context is left whatever ends the loop.
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            try:
                runner.get_loop().run_until_complete(self._main)  # type: ignore[arg-type]
            except asyncio.CancelledError:
                pass
            except Exception as error:
                self.error = error

    async def _stay(self) -> None:
        try:
            async with self._context as entered:
                self._entered.set_result(entered)
                await self.loop.create_future()  # until it is cancelled
        except BaseException as error:
            if self._entered.done():
                raise
            self._entered.set_exception(error)
