"""Threads and tasks that need the same token at the same time share one request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from daypass.client.credentials import Credentials
from daypass.client.errors import DoorUnreachableError
from daypass.client.http1 import HttpRequest
from daypass.client.in_flight import InFlight
from support.exchanges import Wired
from support.fake_door import FakeDoor, Signer, answer, say_nothing, short_lived_token, token_answer
from support.timing import FakeClock, FakeTiming

CredentialsFor = Callable[..., Credentials]


def test_many_threads_share_one_request(signer: Signer, credentials_for: CredentialsFor) -> None:
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


class InterruptingClock(FakeClock):
    """While the first one who asks looks at the clock, `meanwhile` happens."""

    meanwhile: Callable[[], None] | None = None

    def monotonic(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().monotonic()


def test_only_one_thread_decides_at_a_time() -> None:
    clock, asked = InterruptingClock(), threading.Event()
    wired = Wired(FakeTiming(clock))

    def answer_it(_: HttpRequest) -> bytes:
        asked.set()
        return token_answer()

    credentials = wired(answer_it)
    second = threading.Thread(target=credentials.token)

    def meanwhile() -> None:
        second.start()
        asked.wait(0.3)  # in vain: it would decide to ask the door as well

    clock.meanwhile = meanwhile
    credentials.token()
    second.join()
    assert len(wired.wire.requests) == 1


def test_threads_and_tasks_of_several_loops_share_one_request(wired: Wired) -> None:
    everybody_waits, asked = threading.Event(), threading.Barrier(9)

    def slow(_: HttpRequest) -> bytes:
        everybody_waits.wait()
        return token_answer()

    credentials = wired(slow)

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
        everybody_waits.set()
        got = {future.result() for future in (*waiting, *credentials_loops)}
        got.add(first.result().value.reveal())
    assert got == {short_lived_token()}
    assert len(wired.wire.requests) == 1


def test_tasks_share_a_failure_and_back_off(wired: Wired) -> None:
    credentials = wired(lambda _: answer(501))

    async def ask_all() -> list[object]:
        asked = [credentials.token_async() for _ in range(4)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    got = asyncio.run(ask_all())
    assert [type(error) for error in got] == [DoorUnreachableError] * 4
    assert len({id(error) for error in got}) == 4, "an exception is raised by one only"
    assert len(wired.wire.requests) == 1


def test_a_waiting_task_takes_over_a_cancelled_exchange(wired: Wired) -> None:
    async def story() -> None:
        credentials = wired(lambda _: token_answer())
        first = asyncio.create_task(credentials.token_async())
        second = asyncio.create_task(credentials.token_async())
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).value.reveal() == short_lived_token()
        assert first.cancelled()

    asyncio.run(story())


def test_a_cancelled_waiter_changes_nothing_for_the_others(wired: Wired) -> None:
    async def story() -> None:
        credentials = wired(lambda _: token_answer())
        first = asyncio.create_task(credentials.token_async())
        others = [asyncio.create_task(credentials.token_async()) for _ in range(3)]
        await asyncio.sleep(0)
        others[1].cancel()
        assert await first is await others[0] is await others[2]

    asyncio.run(story())
    assert len(wired.wire.requests) == 1


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


def test_an_event_loop_stopped_during_an_exchange_does_not_block_the_next_one(
    wired: Wired, timing: FakeTiming
) -> None:
    """`run_until_complete` and `close` leave a task where it stands."""
    timing.exchange_seconds = 1000  # so long a flight would be waited for
    credentials = wired(lambda _: token_answer())

    async def begin() -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.ensure_future(credentials.token_async())
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    # The task is its program's, and stands still; a thread does not wait for it.
    assert credentials.token().value.reveal() == short_lived_token()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert asyncio.run(credentials.token_async()).value.reveal() == short_lived_token()


def test_blocking_code_inside_a_task_does_not_wait_for_its_own_loop(
    wired: Wired, timing: FakeTiming
) -> None:
    timing.exchange_seconds = 1000  # so long a flight would be waited for
    credentials = wired(lambda _: token_answer())

    async def story() -> str:
        task = asyncio.create_task(credentials.token_async())
        await asyncio.sleep(0)
        token = credentials.token()  # it would block the loop that has to fly
        await task
        return token.value.reveal()

    assert asyncio.run(story()) == short_lived_token()


def test_asyncio_run_can_be_called_repeatedly(wired: Wired) -> None:
    credentials = wired(lambda _: token_answer())
    assert len({asyncio.run(credentials.token_async()) for _ in range(5)}) == 1


def test_a_thread_takes_over_the_exchange_of_an_interrupted_one(wired: Wired) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def door(_: HttpRequest) -> bytes:
        if not begun.is_set():
            begun.set()
            may_end.wait()
            raise KeyboardInterrupt
        return token_answer()

    credentials = wired(door)

    def interrupted() -> bool:
        with pytest.raises(KeyboardInterrupt):
            credentials.token()
        return True

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(interrupted)
        begun.wait()
        second = pool.submit(credentials.token)
        may_end.set()
        assert first.result()
        assert second.result().value.reveal() == short_lived_token()


def test_an_interrupted_exchange_does_not_block_others_while_its_error_is_referenced(
    wired: Wired,
) -> None:
    """A referenced error keeps the frames of its exchange alive, and with them the exchange."""
    kept: list[BaseException] = []

    def door(_: HttpRequest) -> bytes:
        if not kept:
            raise KeyboardInterrupt
        return token_answer()

    credentials = wired(door)
    try:
        credentials.token()
    except KeyboardInterrupt as error:
        kept.append(error)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(credentials.token).result(timeout=20).audiences


def test_a_cancelled_exchange_does_not_block_others_while_its_error_is_referenced(
    wired: Wired,
) -> None:
    kept: list[BaseException] = []
    credentials = wired(lambda _: token_answer())

    async def cancelled() -> None:
        try:
            await credentials.token_async()
        except asyncio.CancelledError as error:
            kept.append(error)
            raise

    async def story() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))

    asyncio.run(story())
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(credentials.token).result(timeout=20).audiences
    assert kept


def test_waiting_for_an_exchange_times_out() -> None:
    assert InFlight().wait(0.0) is False
    assert asyncio.run(InFlight().wait_async(0.0)) is False


def test_a_late_answer_does_not_replace_a_newer_token(wired: Wired, timing: FakeTiming) -> None:
    """It may be much older, if the machine slept between question and answer."""
    answers = [token_answer(number=1), token_answer(number=2)]
    credentials = wired(lambda _: answers.pop(0))

    async def story() -> None:
        overtaken = asyncio.create_task(credentials.token_async())
        await asyncio.sleep(0)
        timing.fake_clock.advance(60)
        assert credentials.token().value.reveal() == short_lived_token(1)
        assert (await overtaken).value.reveal() == short_lived_token(2)

    asyncio.run(story())
    other = credentials.token(credentials.audience, 3600)
    assert other.value.reveal() == short_lived_token(1)


def test_a_finished_exchange_does_not_block() -> None:
    flight = InFlight()
    flight.land(None)
    assert flight.wait(0.0)
    assert asyncio.run(flight.wait_async(0.0))


def test_a_finished_exchange_does_not_wake_a_closed_loop() -> None:
    flight = InFlight()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await flight.wait_async(60)

    asyncio.run(give_up())
    flight.land(None)
