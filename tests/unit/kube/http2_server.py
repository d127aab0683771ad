"""An HTTP/2 server on loopback, in the event loop of a test that decides what it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from daypass.kube.connection import ConnectionConfig
from support.authority import Authority

AUTHORITY = Authority()
P = ParamSpec("P")


class Answer:
    """One request, and what is sent for it. `was_reset`: the client wants no more of it."""

    def __init__(self, connection: ServedConnection, number: int, path: str) -> None:
        self.connection = connection
        self.number = number
        self.path = path
        self.was_reset = False

    def head(self, status: int = 200) -> None:
        self.connection.h2.send_headers(self.number, [(":status", str(status))])
        self.connection.flush()

    def send(self, data: bytes, *, end: bool = False) -> int:
        """Send as much as the client's window takes; how much that is."""
        sent, h2_ = 0, self.connection.h2
        while sent < len(data) and not self.was_reset:
            room = min(h2_.local_flow_control_window(self.number), h2_.max_outbound_frame_size)
            if room == 0:
                break
            h2_.send_data(self.number, data[sent : sent + room])
            sent += min(room, len(data) - sent)
        if end and not self.was_reset:
            h2_.end_stream(self.number)
        self.connection.flush()
        return sent

    def event(self, uid: str) -> None:
        """Send an event of a watch."""
        found = {"metadata": {"uid": uid, "name": uid, "resourceVersion": "2"}}
        self.send(json.dumps({"type": "ADDED", "object": found}).encode() + b"\n")

    def json(self, document: Any, status: int = 200) -> None:
        self.head(status)
        self.send(json.dumps(document).encode(), end=True)

    def reset(self) -> None:
        self.connection.h2.reset_stream(self.number, h2.errors.ErrorCodes.INTERNAL_ERROR)
        self.connection.flush()


class ServedConnection(asyncio.Protocol):
    """A client's connection. `is_deaf`: it reads nothing any more."""

    def __init__(self, server: Http2Server) -> None:
        self.server = server
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.answers: dict[int, Answer] = {}
        self.is_open = True
        self.is_deaf = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections.append(self)
        limit = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=limit)
        self.h2.initiate_connection()
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        if self.is_deaf:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                assert event.stream_id is not None
                path = next(str(v) for k, v in event.headers or () if k in (":path", b":path"))
                answer = Answer(self, event.stream_id, path)
                self.answers[answer.number] = answer
                self.server.requests.append(answer)
                self.server.answer(answer)
            elif isinstance(event, h2.events.StreamReset):
                self.answers[event.stream_id or 0].was_reset = True
        self.flush()

    def go_away(self, error_code: int = 0) -> None:
        self.h2.close_connection(error_code)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


class Http2Server:
    """Hands each request to `answer`. `streams`: how many a connection may have."""

    def __init__(self, answer: Callable[[Answer], object], streams: int) -> None:
        self.answer = answer
        self.streams = streams
        self.connections: list[ServedConnection] = []
        self.requests: list[Answer] = []
        self.port = 0

    @property
    def access(self) -> ConnectionConfig:
        return ConnectionConfig(
            server=f"https://127.0.0.1:{self.port}", namespace="default", origin="a test",
            authority=AUTHORITY.pem,
        )  # fmt: skip

    @property
    def open_connections(self) -> int:
        return sum(each.is_open for each in self.connections)


@asynccontextmanager
async def serving(
    answer: Callable[[Answer], object], *, streams: int = 100
) -> AsyncIterator[Http2Server]:
    """A running server."""
    made = Http2Server(answer, streams)
    context = AUTHORITY.context("127.0.0.1")
    context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ServedConnection(made), "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for each in made.connections:
            each.transport.abort()


async def until(what: str, ask: Callable[[], object]) -> None:
    """Wait until something is so; the event loop goes on meanwhile."""
    async with asyncio.timeout(20):
        while not ask():
            await asyncio.sleep(0.002)


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test in an event loop."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run
