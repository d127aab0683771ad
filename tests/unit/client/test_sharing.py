"""Threads and tasks that want the same token at the same time cost the door one request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from daypass.client.credentials import Credentials
from daypass.client.errors import DoorUnreachableError
from daypass.client.flights import AsyncFlights, Flights
from daypass.client.token import Grant
from support.exchanges import run_exchange
from support.fake_door import (
    AUDIENCE,
    FakeDoor,
    Signer,
    answer,
    say_nothing,
    short_lived_token,
    token_answer,
)
from support.timing import FakeTiming

CredentialsFor = Callable[..., Credentials]
QUESTION = (AUDIENCE, 3600)


def grant() -> Grant:
    return run_exchange([token_answer()])


def test_many_threads_cost_one_request(signer: Signer, credentials_for: CredentialsFor) -> None:
    with FakeDoor(token_answer(), context=signer.context("127.0.0.1")) as door:
        credentials = credentials_for(door.url)
        together = threading.Barrier(16)

        def ask(_: int) -> str:
            together.wait()
            return credentials.token().value.reveal()

        with ThreadPoolExecutor(16) as pool:
            got = list(pool.map(ask, range(16)))
    assert got == [short_lived_token()] * 16
    assert len(door.requests) == 1


def test_many_tasks_cost_one_request(signer: Signer, credentials_for: CredentialsFor) -> None:
    async def ask_all(credentials: Credentials) -> list[str]:
        got = await asyncio.gather(*(credentials.token_async() for _ in range(16)))
        return [token.value.reveal() for token in got]

    with FakeDoor(token_answer(), context=signer.context("127.0.0.1")) as door:
        got = asyncio.run(ask_all(credentials_for(door.url)))
    assert got == [short_lived_token()] * 16
    assert len(door.requests) == 1


def test_threads_and_tasks_share_what_is_known(
    signer: Signer, credentials_for: CredentialsFor
) -> None:
    with FakeDoor(token_answer(), context=signer.context("127.0.0.1")) as door:
        credentials = credentials_for(door.url)
        first = credentials.token()
        assert asyncio.run(credentials.token_async()) is first
    assert len(door.requests) == 1


def test_tasks_share_a_failure_and_the_next_one_tries_again(
    signer: Signer, credentials_for: CredentialsFor
) -> None:
    async def ask_all(credentials: Credentials) -> None:
        asked = [credentials.token_async() for _ in range(4)]
        got = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in got] == [DoorUnreachableError] * 4
        await credentials.token_async()

    script = (answer(501), token_answer())
    with FakeDoor(*script, context=signer.context("127.0.0.1")) as door:
        asyncio.run(ask_all(credentials_for(door.url)))
    assert len(door.requests) == 2


def test_who_stops_waiting_does_not_stop_it_for_the_others() -> None:
    async def story() -> None:
        flights, may_land = AsyncFlights(), asyncio.Event()

        async def exchange() -> Grant:
            await may_land.wait()
            return grant()

        first = asyncio.create_task(flights.share(QUESTION, exchange))
        second = asyncio.create_task(flights.share(QUESTION, exchange))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        may_land.set()
        assert (await second).fresh_seconds
        assert first.cancelled()

    asyncio.run(story())


def test_the_last_one_who_stops_waiting_ends_it_and_the_next_one_begins_anew() -> None:
    async def story() -> None:
        flights, ended = AsyncFlights(), asyncio.Event()

        async def endless() -> Grant:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

        async def quick() -> Grant:
            return grant()

        first = asyncio.create_task(flights.share(QUESTION, endless))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert (await flights.share(QUESTION, quick)).fresh_seconds
        await ended.wait()

    asyncio.run(story())


def test_a_cancelled_exchange_leaves_no_connection_behind(
    signer: Signer, credentials_for: CredentialsFor
) -> None:
    async def story(credentials: Credentials) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await credentials.token_async()

    timing = FakeTiming(exchange_seconds=60)
    with FakeDoor(say_nothing, context=signer.context("127.0.0.1")) as door:
        asyncio.run(story(credentials_for(door.url, time=timing)))
    assert len(door.requests) == 1


def test_threads_that_wait_get_the_failure_of_the_one_that_asked() -> None:
    flights, begun, may_end = Flights(), threading.Event(), threading.Event()
    calls: list[int] = []

    def exchange() -> Grant:
        calls.append(1)
        begun.set()
        may_end.wait()
        raise DoorUnreachableError("no")

    def ask() -> str:
        try:
            flights.share(QUESTION, exchange)
        except DoorUnreachableError as error:
            return error.fact
        return ""

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        begun.wait()
        second = pool.submit(ask)
        may_end.set()
        assert (first.result(), second.result()) == ("no", "no")
    # The second one either shared it or came after it had landed.
    assert len(calls) in (1, 2)


def test_a_thread_takes_over_from_one_that_was_interrupted() -> None:
    flights, begun, may_end = Flights(), threading.Event(), threading.Event()

    def interrupted() -> Grant:
        begun.set()
        may_end.wait()
        raise KeyboardInterrupt

    def ask_first() -> bool:
        with pytest.raises(KeyboardInterrupt):
            flights.share(QUESTION, interrupted)
        return True

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask_first)
        begun.wait()
        second = pool.submit(flights.share, QUESTION, grant)
        may_end.set()
        assert first.result()
        assert second.result().fresh_seconds
