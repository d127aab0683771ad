"""HTTP/2 connections for many watches: requests without a body, each on a stream of its own.

Of httpx2's streams, one reads for all, and an event waits for its stream's turn
(httpcore2/_async/http2.py, `_receive_stream_event`). Other libraries lack more: pyreqwest 0.15
trusts the system's authorities besides the kubeconfig's, pyqwest 0.12 never notices that a server
hangs (no PING), both take no TLS server name besides the host, and urllib3-future replaces urllib3.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import cast

import httpx2
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from daypass.kube.errors import NoHttp2Error

STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 2**18, 2**24
"""What may arrive before a reader has taken it."""
PING_SECONDS = 5.0
"""How often a connection is asked for a sign of life, which may take as long."""


class Http2Transport(httpx2.AsyncBaseTransport):
    """Sends requests to one server on at most `connections`, with so many `streams` on each.

    A request beyond that waits until another ends. Only connecting has a timeout. A connection on
    which a caller has not waited for an answer gets no more requests, since its server may hang,
    and a load balancer may have others; it stays, as one more, until its other requests have ended.
    Raises NoHttp2Error besides the errors of httpx2.
    """

    def __init__(self, tls: ssl.SSLContext, *, connections: int, streams: int) -> None:
        self._tls = tls
        self._limit = connections
        self._streams = streams
        self._connections: list[_Http2Connection] = []
        self._turn = asyncio.Lock()
        self._has_room = asyncio.Event()

    @property
    def streams(self) -> int:
        """How many streams a connection may have; the server may allow fewer than wanted."""
        return min([self._streams, *(each.allowed_streams for each in self._connections)])

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; return its response as soon as its headers are there."""
        async with self._turn:
            connection = await self._connection(request)
            stream = connection.send(request)
        try:
            status, headers = await stream.head()
        except BaseException as error:
            await stream.aclose()
            if isinstance(error, asyncio.CancelledError):
                connection.retire()
            raise
        # Thousands of watches are open: of their headers, only this one says how to read them.
        headers = [each for each in headers if each[0] == b"content-encoding"]
        return httpx2.Response(
            status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/2"}
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def _connection(self, request: httpx2.Request) -> _Http2Connection:
        """Return a connection with room for one more stream."""
        while True:
            self._has_room.clear()
            self._connections = [each for each in self._connections if not each.is_closed]
            usable = [each for each in self._connections if not each.is_retired]
            for connection in usable:
                if len(connection.streams) < self.streams:
                    return connection
            if len(usable) < self._limit:
                for each in self._connections[: -self._limit]:
                    each.close()  # the oldest ones that get no more requests
                self._connections.append(await self._connect(request))
                return self._connections[-1]
            await self._has_room.wait()

    async def _connect(self, request: httpx2.Request) -> _Http2Connection:
        connection = _Http2Connection(self._has_room)
        host, port = request.url.host, request.url.port or 443
        name = request.extensions.get("sni_hostname", host)
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, host, port, ssl=self._tls, server_hostname=name
                )
                await connection.is_ready
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise httpx2.ConnectTimeout("timed out") from None
            if isinstance(error, OSError):
                raise httpx2.ConnectError(str(error)) from error
            raise
        return connection


class _H2(H2Connection):
    MAX_CLOSED_STREAMS = 256  # it remembers each that has ended: by default, 65,536


class _Http2Connection(asyncio.Protocol):
    """One connection and its open `streams`, by number."""

    def __init__(self, has_room: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._h2 = _H2(H2Configuration(header_encoding=None))
        self._transport: asyncio.Transport | None = None
        self._has_room = has_room
        self._is_asked = False
        self.streams: dict[int, _Stream] = {}
        self.is_ready: asyncio.Future[None] = self._loop.create_future()
        self.is_closed = self.is_retired = False

    @property
    def allowed_streams(self) -> int:
        """How many streams the server takes."""
        return self._h2.remote_settings.max_concurrent_streams

    def send(self, request: httpx2.Request) -> _Stream:
        """Send a request without a body, on a new stream. Raises httpx2.TransportError."""
        if self.is_closed:
            raise httpx2.RemoteProtocolError("the connection was closed")
        headers = [
            (b":method", request.method.encode()),
            (b":authority", request.headers["Host"].encode()),
            (b":scheme", b"https"),
            (b":path", request.url.raw_path),
            *((n, v) for n, v in request.headers.raw if n.lower() != b"host"),
        ]
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, headers, end_stream=True)
        except ProtocolError as error:
            self._end(httpx2.LocalProtocolError(type(error).__name__))
            raise httpx2.LocalProtocolError(type(error).__name__) from None
        self._flush()
        self.streams[number] = stream = _Stream(self, number)
        return stream

    def retire(self) -> None:
        """Take no more requests, and close when the last one ends."""
        self.is_retired = True
        self._settle()

    def close(self) -> None:
        """Close the connection and all its streams."""
        self._end(httpx2.ReadError("the connection was closed"))

    def take(self, number: int, *read: events.Event | Exception) -> None:
        """Let the server send as much again as a reader has taken."""
        length = sum(getattr(event, "flow_controlled_length", 0) for event in read)
        if length and not self.is_closed:
            self._h2.acknowledge_received_data(length, number)
            self._flush()

    def forget(self, number: int) -> None:
        """End a stream; the server is to send no more on it."""
        if self.streams.pop(number, None) is None:
            return
        self._h2.reset_stream(number, ErrorCodes.CANCEL)
        self._flush()
        self._settle()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._end(NoHttp2Error())
            return
        self._h2.initiate_connection()
        self._h2.update_settings(
            {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES}
        )
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._flush()
        self._loop.call_later(PING_SECONDS, self._ask)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(httpx2.RemoteProtocolError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._is_asked = False
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except ProtocolError as error:
            self._end(httpx2.RemoteProtocolError(type(error).__name__))
        self._flush()

    def _handle(self, event: events.Event) -> None:
        number = getattr(event, "stream_id", None) or 0
        stream = self.streams.get(number)
        if isinstance(event, events.RemoteSettingsChanged):
            if not self.is_ready.done():
                self.is_ready.set_result(None)
        elif isinstance(event, events.ConnectionTerminated):
            self._end(httpx2.RemoteProtocolError("the server ended the connection"))
        elif stream is None:
            self.take(number, event)
        elif isinstance(event, events.StreamReset):
            stream.put(httpx2.RemoteProtocolError(f"the stream was reset: {event.error_code}"))
        else:
            stream.put(event)
        if isinstance(event, (events.StreamEnded, events.StreamReset)):
            self.streams.pop(number, None)
            self._settle()

    def _settle(self) -> None:
        if self.is_retired and not self.streams:
            self.close()
        self._has_room.set()

    def _ask(self) -> None:
        """Ask for a sign of life. End the connection if nothing came since the last time."""
        if self._is_asked:
            self._end(httpx2.ReadError("the connection does not respond"))
        if self.is_closed:
            return
        self._is_asked = True
        self._h2.ping(b"are you?")
        self._flush()
        self._loop.call_later(PING_SECONDS, self._ask)

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    def _end(self, error: httpx2.TransportError | NoHttp2Error) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if not self.is_ready.done():
            self.is_ready.set_exception(error)
            self.is_ready.exception()  # nobody may wait for it
        for stream in self.streams.values():
            stream.put(type(error)(*error.args))
        self.streams.clear()
        self._has_room.set()
        if self._transport is not None:
            self._transport.abort()


class _Stream(httpx2.AsyncByteStream):
    """One request, and what has arrived for it. An error is the last of it."""

    __slots__ = ("_arrived", "_connection", "_number", "_waiter")

    def __init__(self, connection: _Http2Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self._arrived: list[events.Event | Exception] = []  # an empty deque has 760 bytes
        self._waiter: asyncio.Future[None] | None = None

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return status and headers."""
        while not isinstance(event := await self._next(), events.ResponseReceived):
            pass
        (_, status), *headers = list(event.headers or ())  # the only pseudo-header, and first
        return int(status), headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not isinstance(event := await self._next(), events.StreamEnded):
            if isinstance(event, events.DataReceived):
                self._connection.take(self._number, event)
                yield event.data or b""

    async def aclose(self) -> None:
        """End it, whatever has not been read."""
        self._connection.take(self._number, *self._arrived)
        self._arrived.clear()
        self._connection.forget(self._number)

    def put(self, arrived: events.Event | Exception) -> None:
        """Let its reader have this, after what came before."""
        self._arrived.append(arrived)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _next(self) -> events.Event:
        while not self._arrived:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if isinstance(arrived := self._arrived.pop(0), Exception):
            raise arrived
        return arrived
