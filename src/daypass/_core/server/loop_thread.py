"""An event loop on a thread of its own: how servers and watches of asyncio run next to other work.

What runs is an async context manager: it is up once it is entered, and down once it is left.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class LoopThread(Generic[T]):
    """Enters a context at `start`, and leaves it at `stop`, or when its loop ends for another
    reason; `error` is that reason.

    `make_loop`: makes the event loop.
    """

    def __init__(
        self,
        name: str,
        context: AbstractAsyncContextManager[T],
        make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
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
        self._main = self._make_loop().create_task(self._stay())
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
