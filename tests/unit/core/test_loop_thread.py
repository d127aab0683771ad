"""An event loop on a thread: what enters and leaves its context, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvloop

from daypass._core.threads import LoopThread
from support.deadline import eventually


class Served:
    """A context, and what has happened to it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[str] = []
        self._fails = fails

    @asynccontextmanager
    async def context(self) -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as self.tasks:
            if self._fails:
                raise OSError("it cannot listen")
            self.seen.append("entered")
            try:
                yield "its address"
            finally:
                await asyncio.sleep(0)
                self.seen.append("left")

    def add(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.create_task(work)


def _has_ended(thread: LoopThread[str]) -> bool:
    return not thread.is_alive


async def fail() -> None:
    raise ValueError("a task has failed")


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_is_up_after_start_and_down_after_stop(make_loop: type) -> None:
    served = Served()
    thread = LoopThread("test", served.context(), make_loop)
    assert thread.start(10) == "its address"
    assert (served.seen, thread.is_alive) == (["entered"], True)
    thread.stop()
    thread.stop()
    assert (served.seen, thread.is_alive, thread.error) == (["entered", "left"], False, None)
    thread.call(served.seen.clear)  # it has ended: nothing happens
    assert served.seen


def test_what_keeps_it_from_starting_is_raised_at_the_start() -> None:
    thread = LoopThread("test", Served(fails=True).context())
    with pytest.raises(ExceptionGroup) as error:
        thread.start(10)
    assert error.group_contains(OSError)
    assert not thread.is_alive


def test_a_start_that_takes_too_long_ends() -> None:
    @asynccontextmanager
    async def never() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    thread = LoopThread("test", never())
    with pytest.raises(TimeoutError):
        thread.start(0.01)
    eventually("it has ended", lambda: not thread.is_alive)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_whatever_ends_the_loop_is_kept_and_the_context_is_left(make_loop: type) -> None:
    for end in ("task", "loop"):
        served = Served()
        thread = LoopThread("test", served.context(), make_loop)
        thread.start(10)
        if end == "task":
            thread.call(served.add, fail())
        else:
            thread.call(thread.loop.stop)
        eventually("it has ended", partial(_has_ended, thread))
        assert thread.error is not None
        assert served.seen == ["entered", "left"]
        thread.stop()
