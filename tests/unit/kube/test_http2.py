"""HTTP/2 connections to an API server: many watches that do not hold each other up."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import httpx2
import pytest

from daypass.kube import http2
from daypass.kube.answers import Selection
from daypass.kube.connection import Authenticator, ConnectionConfig
from daypass.kube.errors import ClusterUnreachableError
from daypass.kube.http2 import STREAM_WINDOW_BYTES, Http2Transport
from daypass.kube.resources import SECRETS
from daypass.kube.watching import (
    HTTP1_WATCHES_AT_MOST,
    WATCH_CONNECTIONS,
    AsyncCluster,
)
from support.fake_door import FakeDoor, answer
from support.watched_api import whole
from unit.kube.http2_server import AUTHORITY, Answer, Http2Server, in_a_loop, serving, until

EMPTY = {"metadata": {"resourceVersion": "1"}, "items": []}


def as_api_server(asked: Answer) -> None:
    """Lists are empty; watches begin, and stay silent."""
    if "watch=true" in asked.path:
        asked.head()
    else:
        asked.json(EMPTY)


class Watches:
    """Watches of namespaces, and what each has seen."""

    def __init__(self, cluster: AsyncCluster) -> None:
        self.cluster = cluster
        self.seen: dict[str, list[str]] = {}
        self.failed: dict[str, Exception] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, server: Http2Server, *names: str) -> None:
        before = len(server.requests)
        for name in names:
            self.tasks[name] = asyncio.create_task(self._watch(name))
        await until("they are asked for", lambda: len(server.requests) == before + len(names))

    async def _watch(self, name: str) -> None:
        events = self.cluster.watch(
            Selection(resource=SECRETS, namespace=name), "1", timeout_seconds=60
        )
        try:
            async with aclosing(events):
                async for _, found in events:
                    self.seen.setdefault(name, []).append(found["metadata"]["uid"])
        except ClusterUnreachableError as error:
            self.failed[name] = error


@asynccontextmanager
async def watching(server: Http2Server) -> Any:
    cluster = AsyncCluster(server.access)
    watches = Watches(cluster)
    try:
        yield watches
    finally:
        for task in watches.tasks.values():
            task.cancel()
        await cluster.close()


def names(count: int) -> list[str]:
    return [f"n-{number}" for number in range(count)]


def request_of(server: Http2Server, name: str) -> Answer:
    return request_of_path(server, f"/namespaces/{name}/")


def request_of_path(server: Http2Server, path: str) -> Answer:
    (found,) = (each for each in server.requests if path in each.path)
    return found


@in_a_loop
async def test_an_event_arrives_while_all_other_watches_of_the_connection_are_silent() -> None:
    async with serving(as_api_server) as server, watching(server) as watches:
        await watches.start(server, *names(20))
        for name in ("n-15", "n-3", "n-19"):
            request_of(server, name).event(f"in-{name}")
            await until("it arrives", partial(watches.seen.__contains__, name))
            assert watches.seen[name] == [f"in-{name}"]
        assert len(watches.seen) == 3
        assert len(server.connections) == 1


@in_a_loop
async def test_a_connection_takes_no_more_watches_than_the_server_allows() -> None:
    async with serving(as_api_server, streams=3) as server, watching(server) as watches:
        await watches.start(server, *names(7))
        assert [len(each.answers) for each in server.connections] == [3, 3, 1]
        assert watches.cluster.watches_at_most == 3 * WATCH_CONNECTIONS
        assert not watches.failed


@in_a_loop
async def test_a_list_does_not_wait_for_watches() -> None:
    async with serving(as_api_server, streams=1) as server, watching(server) as watches:
        await watches.start(server, *names(2))
        assert await watches.cluster.list(Selection(resource=SECRETS), whole) == ([], "1")


@asynccontextmanager
async def sending(server: Http2Server, **limits: int) -> Any:
    """A client of one small transport."""
    tls = Authenticator(server.access).context("h2", "http/1.1")
    transport = Http2Transport(tls, **limits)
    async with httpx2.AsyncClient(
        transport=transport, base_url=server.access.server, trust_env=False, timeout=20
    ) as client:
        yield client


@in_a_loop
async def test_beyond_the_limit_a_request_waits_until_another_ends() -> None:
    async with (
        serving(as_api_server) as server,
        sending(server, connections=1, streams=2) as client,
    ):
        first = [await client.send(watch(client), stream=True) for _ in range(2)]
        third = asyncio.create_task(client.get("/x"))
        await asyncio.wait([third], timeout=0.05)
        assert (third.done(), len(server.requests)) == (False, 2)
        await first[0].aclose()
        assert (await third).json() == EMPTY
        await first[1].aclose()


def watch(client: httpx2.AsyncClient, path: str = "/x") -> httpx2.Request:
    return client.build_request("GET", f"{path}?watch=true")


@in_a_loop
async def test_a_closed_watch_is_reset_and_costs_the_connection_nothing() -> None:
    """Together, what is left unread is more than the window of the connection."""
    sent: list[int] = []

    def flood(asked: Answer) -> None:
        asked.head()
        if "watch=true" in asked.path:
            sent.append(asked.send(bytes(STREAM_WINDOW_BYTES)))
        else:
            asked.send(b"{}", end=True)

    async with serving(flood) as server, sending(server, connections=1, streams=2) as client:
        for _ in range(2 * http2.CONNECTION_WINDOW_BYTES // STREAM_WINDOW_BYTES):
            response = await client.send(watch(client), stream=True)
            await response.aclose()
        assert (await client.get("/x")).json() == {}
        assert len(server.connections) == 1
        assert all(each.was_reset for each in server.requests[:-1])
    assert min(sent) == STREAM_WINDOW_BYTES


@pytest.mark.parametrize("how", ["goaway", "goaway with an error", "closed"])
@in_a_loop
async def test_after_a_connection_has_ended_the_next_request_makes_another(how: str) -> None:
    """API servers with `--goaway-chance` end connections, so that clients try another server."""
    async with serving(as_api_server) as server, watching(server) as watches:
        await watches.start(server, "one")
        (first,) = server.connections
        if how == "closed":
            first.transport.close()
        else:
            first.go_away(error_code=11 if "error" in how else 0)
        await until("the watch fails", lambda: "one" in watches.failed)
        await watches.start(server, "two")
        server.requests[-1].event("s")
        await until("the other goes on", lambda: watches.seen == {"two": ["s"]})


@in_a_loop
async def test_after_a_request_without_an_answer_others_go_to_another_connection() -> None:
    """One API server of several may hang, and its connections stay with it."""

    first: list[object] = []

    def hangs_on_the_first(asked: Answer) -> None:
        first.append(asked.connection)
        if asked.connection is not first[0] or "quick" in asked.path:
            as_api_server(asked)

    async with (
        serving(hangs_on_the_first) as server,
        sending(server, connections=1, streams=9) as client,
    ):
        other = await client.send(watch(client, "/quick"), stream=True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get("/x")
        assert (await client.get("/x")).json() == EMPTY
        assert len(server.connections) == 2
        request_of_path(server, "/quick").event("s")  # the other request goes on
        assert b"ADDED" in await anext(other.aiter_bytes())
        await other.aclose()
        await until("it is closed", lambda: server.open_connections == 1)


@in_a_loop
async def test_connections_that_get_no_more_requests_are_limited_too() -> None:
    async with (
        serving(lambda asked: asked.head()) as server,
        sending(server, connections=1, streams=9) as client,
    ):
        for _ in range(4):
            await client.send(watch(client), stream=True)
            server.connections[-1].is_deaf = True
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.get("/x")
        await until("old ones are closed", lambda: server.open_connections <= 2)


@pytest.fixture
def short_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "PING_SECONDS", 0.05)


@pytest.mark.usefixtures("short_pings")
@in_a_loop
async def test_a_connection_without_a_sign_of_life_is_given_up_and_a_silent_one_is_not() -> None:
    async with serving(as_api_server, streams=1) as server, watching(server) as watches:
        await watches.start(server, "alive", "deaf")
        request_of(server, "deaf").connection.is_deaf = True
        await until("it is given up", lambda: "deaf" in watches.failed)
        request_of(server, "alive").event("s")
        await until("the other goes on", lambda: watches.seen == {"alive": ["s"]})


@in_a_loop
async def test_the_certificate_must_be_signed_by_the_kubeconfigs_authority() -> None:
    async with serving(as_api_server) as server:
        access = ConnectionConfig(
            server=server.access.server, namespace="x", origin="x",
            authority=type(AUTHORITY)().pem,
        )  # fmt: skip
        cluster = AsyncCluster(access)
        with pytest.raises(ClusterUnreachableError, match="certificate"):
            await cluster.list(Selection(resource=SECRETS), whole)
        assert server.requests == []


@pytest.mark.parametrize("named", ["127.0.0.1", "other.test"])
@in_a_loop
async def test_tls_server_name_is_what_the_certificate_must_name(named: str) -> None:
    async with serving(as_api_server) as server:
        access = ConnectionConfig(
            server=server.access.server.replace("127.0.0.1", "localhost"), namespace="x",
            origin="x", authority=AUTHORITY.pem, tls_server_name=named,
        )  # fmt: skip
        cluster = AsyncCluster(access)
        if named == "127.0.0.1":
            assert await cluster.list(Selection(resource=SECRETS), whole) == ([], "1")
        else:
            with pytest.raises(ClusterUnreachableError, match=r"other\.test"):
                await cluster.list(Selection(resource=SECRETS), whole)
        await cluster.close()


@pytest.mark.parametrize("is_tls", [True, False])
@in_a_loop
async def test_a_server_without_http2_gets_http1(is_tls: bool) -> None:
    """Each request then takes a connection."""
    context = AUTHORITY.context("127.0.0.1") if is_tls else None
    with FakeDoor(answer(200, json.dumps(EMPTY)), context=context) as server:
        access = ConnectionConfig(
            server=f"{'https' if is_tls else 'http'}://127.0.0.1:{server.port}",
            namespace="x", origin="x", authority=AUTHORITY.pem,
        )  # fmt: skip
        cluster = AsyncCluster(access)
        for _ in range(2):
            assert await cluster.list(Selection(resource=SECRETS), whole) == ([], "1")
        assert cluster.watches_at_most == HTTP1_WATCHES_AT_MOST
        await cluster.close()
        assert next(filter(None, server.requests)).startswith(b"GET /api/v1/secrets")
