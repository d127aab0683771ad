"""Threads and tasks that need the same token at the same time share one request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from daypass.client.errors import DoorUnreachableError
from daypass.client.http1 import HttpRequest
from daypass.client.token import Token
from support.exchanges import CredentialsAtDoor
from support.fake_door import (
    AUDIENCE,
    answer,
    short_lived_token,
    token_answer,
)
from support.timing import FakeTiming


class HeldDoor:
    """Gives each caller a token once `may_answer` is set."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def __call__(self, _: HttpRequest) -> bytes:
        self.may_answer.wait()
        return token_answer()


def test_threads_and_tasks_of_several_loops_share_one_request(wired: CredentialsAtDoor) -> None:
    door, asked = HeldDoor(), threading.Barrier(9)
    credentials = wired(door)

    def thread(_: int) -> str:
        asked.wait()
        return credentials.token().value.reveal()

    def loop(_: int) -> str:
        async def story() -> str:
            tasks = [asyncio.create_task(credentials.token_async()) for _ in range(4)]
            await asyncio.sleep(0)
            asked.wait()
            return {token.value.reveal() for token in await asyncio.gather(*tasks)}.pop()

        return asyncio.run(story())

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(credentials.token)
        waiting = [pool.submit(thread, n) for n in range(4)]
        credentials_loops = [ThreadPoolExecutor(1).submit(loop, n) for n in range(4)]
        asked.wait()
        door.may_answer.set()
        got = {future.result() for future in (*waiting, *credentials_loops)}
        got.add(first.result().value.reveal())
    assert got == {short_lived_token()}
    assert len(wired.wire.requests) == 1


def test_tasks_share_a_failure_and_back_off(wired: CredentialsAtDoor) -> None:
    credentials = wired(lambda _: answer(501))

    async def ask_all() -> list[object]:
        asked = [credentials.token_async() for _ in range(4)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    got = asyncio.run(ask_all())
    assert [type(error) for error in got] == [DoorUnreachableError] * 4
    assert len({id(error) for error in got}) == 4, "an exception is raised by one only"
    assert len(wired.wire.requests) == 1


def test_cancelled_tasks_change_nothing_for_the_others(wired: CredentialsAtDoor) -> None:
    door = HeldDoor()

    async def story() -> None:
        credentials = wired(door)
        tasks = [asyncio.create_task(credentials.token_async()) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # the one that has begun the exchange
        tasks[2].cancel()
        await asyncio.sleep(0)
        door.may_answer.set()
        assert await tasks[1] is await tasks[3]
        assert tasks[0].cancelled()
        assert tasks[2].cancelled()

    asyncio.run(story())
    assert len(wired.wire.requests) == 1


def test_a_task_exchanges_on_its_own_thread_if_no_other_can_start(
    wired: CredentialsAtDoor, timing: FakeTiming
) -> None:
    def refuse(_: str, __: Callable[[], None]) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    timing.start = refuse
    token = asyncio.run(wired(lambda _: token_answer()).token_async())
    assert token.value.reveal() == short_lived_token()
    with pytest.raises(DoorUnreachableError):
        asyncio.run(wired(lambda _: answer(501)).token_async())


def test_an_unexpected_error_of_an_exchange_is_raised_in_the_task_that_began_it(
    wired: CredentialsAtDoor,
) -> None:
    answers: list[bytes] = []

    def door(_: HttpRequest) -> bytes:
        if not answers:
            answers.append(token_answer())
            raise ZeroDivisionError
        return answers[0]

    credentials = wired(door)

    async def story() -> list[object]:
        tasks = [credentials.token_async() for _ in range(3)]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, *others = asyncio.run(story())
    assert isinstance(first, ZeroDivisionError)
    assert {type(other) for other in others} == {Token}


def test_a_handler_on_the_thread_that_exchanges_does_not_wait_for_itself(
    wired: CredentialsAtDoor,
) -> None:
    """A signal handler, for example, that requests a token as well."""
    credentials = wired(lambda _: token_answer())
    got: list[Token] = []

    def door(_: HttpRequest) -> bytes:
        if len(wired.wire.requests) < 2:
            got.append(credentials.token())
        if len(wired.wire.requests) < 4:
            got.append(asyncio.run(credentials.token_async("another")))
        return token_answer(spec={"audiences": [AUDIENCE, "another"]})

    wired.wire.answer = door
    credentials.token()
    assert len(got) >= 2


def test_the_next_caller_exchanges_anew_after_the_deadline(
    wired: CredentialsAtDoor, timing: FakeTiming
) -> None:
    timing.exchange_seconds = -4.9  # others wait for a tenth of a second
    hangs, may_end = threading.Event(), threading.Event()

    def door(_: HttpRequest) -> bytes:
        if not hangs.is_set():
            hangs.set()
            may_end.wait()
            return token_answer(number=1)
        return token_answer(number=2)

    credentials = wired(door)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(credentials.token)
        hangs.wait()
        timing.fake_clock.advance(1)
        assert credentials.token().value.reveal() == short_lived_token(2)
        may_end.set()
        first.result()
    # A late response does not replace a newer token: it may be much older.
    other = credentials.token(credentials.audience, 3600)
    assert other.value.reveal() == short_lived_token(2)
