"""The informer: a current list of objects, how often it is renewed, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx2
import pytest

from daypass._core.kubernetes.objects import Object
from daypass._core.threads import LoopThread
from daypass.kube import watching
from daypass.kube.answers import Selection
from daypass.kube.resources import SECRETS
from daypass.kube.watching import AsyncCluster, Informer
from support.deadline import eventually
from support.messages import check
from support.timing import FakeClock
from support.watched_api import ACCESS, WatchedApi, whole

VALID_SECONDS = 600.0


class Running:
    """An informer of all Secrets. `notified`: what it had at each notification."""

    def __init__(
        self, api: WatchedApi, valid_seconds: float = VALID_SECONDS,
        read: Callable[[Object], Object | None] = whole,
    ) -> None:  # fmt: skip
        self.api, self.clock = api, FakeClock()
        self.notified: list[list[str]] = []
        self.cluster = AsyncCluster(ACCESS, clock=self.clock, transport=api)
        self.informer = Informer(
            self.cluster, Selection(resource=SECRETS), read, valid_seconds=valid_seconds,
            notify=lambda: self.notified.append(self.uids()),
        )  # fmt: skip

    @property
    def listed_at(self) -> float | None:
        return None if self.informer.listing is None else self.informer.listing.began_at

    def sync(self, fails: int | None = None) -> str:
        """List once; the error that is reported afterwards."""
        self.api.fails = fails
        asyncio.run(self.informer.sync())
        return self.informer.last_error

    @contextmanager
    def started(self) -> Iterator[None]:
        thread = LoopThread("test", self._watching())
        thread.start()
        try:
            yield
        finally:
            thread.stop()

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.informer.run())
        try:
            yield
        finally:
            task.cancel()
            await self.cluster.close()

    def eventually_watches(self, times: int) -> httpx2.QueryParams:
        """Wait for so many watches; what the last one was asked with."""
        eventually(f"it watches {times} times", lambda: len(self.api.watches()) >= times)
        return self.api.watches()[-1]

    def uids(self) -> list[str]:
        return sorted(self.informer.objects)

    def eventually_has(self, *uids: str) -> None:
        eventually(f"it has {uids}", lambda: self.uids() == sorted(uids))


@pytest.fixture
def api() -> WatchedApi:
    made = WatchedApi()
    made.put("secrets", "s-1")
    return made


UNREACHABLE, BROKEN, FORBIDDEN = 0, 500, 403


def test_a_failure_that_repeats_or_will_not_pass_is_reported_until_it_is_over(
    api: WatchedApi,
) -> None:
    running = Running(api)
    for fails, reported in (
        (None, False), (UNREACHABLE, False), (UNREACHABLE, True), (None, False),
        (UNREACHABLE, False), (None, False), (FORBIDDEN, True),
    ):  # fmt: skip
        last_error = running.sync(fails)
        assert bool(last_error) is reported
        if reported:
            check(last_error, reason="trouble")


def test_a_list_is_valid_from_its_beginning(api: WatchedApi) -> None:
    running = Running(api)
    began = running.clock.now_monotonic

    async def slowly(request: httpx2.Request) -> httpx2.Response:
        running.clock.advance(5)
        return httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": []})

    running.api.handle_async_request = slowly  # type: ignore[method-assign]
    assert running.sync() == ""
    assert running.listed_at == began


def test_nothing_but_a_complete_list_renews_the_time(api: WatchedApi) -> None:
    running = Running(api)
    with running.started():
        running.eventually_has("s-1")
        listed_at = running.listed_at
        running.clock.advance(50)
        api.put("secrets", "s-2")  # an event
        running.eventually_has("s-1", "s-2")
        assert running.listed_at == listed_at
        api.fails = BROKEN
        api.end_watches()  # cleanly
        eventually("it fails", lambda: running.informer.failure)
        assert running.listed_at == listed_at
        api.fails = None
        eventually("it lists", lambda: running.listed_at == running.clock.now_monotonic)
        assert running.informer.failure is None


def test_a_list_without_a_version_is_what_is_asked_for(api: WatchedApi) -> None:
    """It is a consistent read, and no list from a cache (`resourceVersion=0`)."""
    running = Running(api)
    running.sync()
    assert "resourceVersion" not in api.asked[0].url.params
    assert "resourceVersionMatch" not in api.asked[0].url.params


def test_lists_are_repeated_at_least_three_times_while_one_is_valid(api: WatchedApi) -> None:
    running = Running(api)
    seconds = set()
    with running.started():
        for number in range(20):
            seconds.add(int(running.eventually_watches(number + 1)["timeoutSeconds"]))
            running.clock.advance(1)  # so that it was no short watch
            api.end_watches()
    assert min(seconds) >= VALID_SECONDS / 6 - 1
    assert max(seconds) <= VALID_SECONDS / 3
    assert len(seconds) > 1  # many informers do not list at the same time


def test_a_lost_event_is_noticed_at_the_next_list(api: WatchedApi) -> None:
    running = Running(api)
    with running.started():
        running.eventually_has("s-1")
        api.lost.add(api.version + 1)
        api.delete("secrets", "s-1")
        api.put("secrets", "s-2")
        running.eventually_has("s-1", "s-2")
        api.end_watches()
        running.eventually_has("s-2")


@pytest.mark.parametrize("breaking", [None, httpx2.ReadError])
def test_after_a_broken_watch_it_lists_again(
    api: WatchedApi, breaking: type[httpx2.ReadError] | None
) -> None:
    running = Running(api)
    api.breaking = breaking
    with running.started():
        running.eventually_has("s-1")
        lists = api.lists("secrets")
        api.breaks[api.version + 1] = 1
        api.put("secrets", "s-2")
        running.eventually_has("s-1", "s-2")
        assert api.lists("secrets") == lists + 1
        assert running.informer.last_error == ""


def test_a_list_that_is_not_answered_ends(api: WatchedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SHORTEST_LIST_SECONDS", 0.01)
    api.hangs.add("secrets")
    running = Running(api, 0.1)
    assert "in time" in running.sync()
    assert running.listed_at is None


def test_a_watch_that_the_api_server_does_not_end_ends(api: WatchedApi) -> None:
    running = Running(api, 0.6)

    async def forever(request: httpx2.Request) -> httpx2.Response:
        if "watch" in request.url.params:
            api.asked.append(request)
            await asyncio.Event().wait()
        return await WatchedApi.handle_async_request(api, request)

    api.handle_async_request = forever  # type: ignore[method-assign]
    with running.started():
        eventually("it lists again", lambda: api.lists("secrets") >= 2)
        assert running.informer.last_error == ""


def test_objects_are_those_of_the_last_list_and_the_changes_since(api: WatchedApi) -> None:
    running = Running(api)
    with running.started():
        running.eventually_has("s-1")
        api.put("secrets", "s-2")
        api.put("secrets", "s-1", labels={"new": "x"})
        api.delete("secrets", "s-2")
        eventually("all is seen", lambda: len(running.notified) >= 4)
        assert running.notified == [["s-1"], ["s-1", "s-2"], ["s-1", "s-2"], ["s-1"]]
        assert running.informer.objects["s-1"]["metadata"]["labels"] == {"new": "x"}


def test_an_object_of_which_nothing_is_read_counts_as_deleted(api: WatchedApi) -> None:
    def read(document: Object) -> Object | None:
        return None if document["metadata"].get("deletionTimestamp") else document

    api.put("secrets", "s-2", deletionTimestamp="x")
    running = Running(api, read=read)
    with running.started():
        running.eventually_has("s-1")
        api.put("secrets", "s-1", deletionTimestamp="x")
        api.delete("secrets", "s-2")
        running.eventually_has()
