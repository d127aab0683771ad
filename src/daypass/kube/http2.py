"""HTTP/2 connections for many watches: requests without a body, each on a stream of its own.

httpx2's own HTTP/2 is not made for watches: of its streams, one reads for all, and an event waits
for its stream's turn until others have had events, too (httpcore2/_async/http2.py,
`_receive_stream_event`). Here, each connection reads on its own. A slow or ended stream does not
hold up others, and a connection whose other end is gone is noticed (PING).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import httpx2

from daypass.kube.errors import NoHttp2Error

if TYPE_CHECKING:
    from hyperframe.frame import Frame, GoAwayFrame

STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 2**18, 2**24
"""What may arrive before a reader has taken it."""
PING_SECONDS = 5.0
"""A connection that was silent for this long is asked for a sign of life, which may take as long.
"""


class Http2Transport(httpx2.AsyncBaseTransport):
    """Sends requests to one server on at most `connections`, with so many `streams` on each.

    A request beyond that waits until another ends. Only connecting has a timeout. A connection on
    which a caller has not waited for an answer gets no more requests, since its server may hang,
    and a load balancer may have others; it stays, as one more, until its other requests have ended.
    Raises NoHttp2Error besides the errors of httpx2.
    """

    def __init__(
        self, tls: ssl.SSLContext, server_name: str | None, *, connections: int, streams: int
    ) -> None:
        self._tls = tls
        self._server_name = server_name
        self._limit = connections
        self._streams = streams
        self._connections: list[_Http2Connection] = []
        self._turn = asyncio.Lock()
        self._has_room = asyncio.Event()

    @property
    def streams(self) -> int:
        """How many streams a connection may have; the server may allow fewer than wanted."""
        return min(self._streams, *(each.allowed_streams for each in self._connections), 2**31)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; return its response as soon as its headers are there."""
        connect_seconds = request.extensions.get("timeout", {}).get("connect")
        async with self._turn:
            connection = await self._connection(request.url, connect_seconds)
            stream = connection.send(request)
        try:
            status, headers = await stream.head()
        except BaseException as error:
            await stream.aclose()
            if isinstance(error, asyncio.CancelledError):
                connection.retire()
            raise
        return httpx2.Response(
            status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/2"}
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def _connection(self, url: httpx2.URL, connect_seconds: float | None) -> _Http2Connection:
        """Return a connection with room for one more stream."""
        while True:
            self._has_room.clear()
            self._connections = [each for each in self._connections if not each.is_closed]
            usable = [each for each in self._connections if not each.is_retired]
            for connection in usable:
                if connection.open_streams < self.streams:
                    return connection
            if len(usable) < self._limit:
                for each in self._connections[: len(self._connections) - self._limit]:
                    each.close()  # the oldest ones that get no more requests
                self._connections.append(await self._connect(url, connect_seconds))
            else:
                await self._has_room.wait()

    async def _connect(self, url: httpx2.URL, seconds: float | None) -> _Http2Connection:
        connection = _Http2Connection(self._has_room)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, url.host, url.port or 443, ssl=self._tls,
                    server_hostname=self._server_name or url.host,
                )  # fmt: skip
                await connection.is_ready
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise httpx2.ConnectTimeout("timed out") from None
            if isinstance(error, OSError):
                raise httpx2.ConnectError(str(error)) from error
            raise
        return connection


class _H2(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = 256  # it remembers each that has ended: by default, 65,536

    def _receive_goaway_frame(
        self, frame: GoAwayFrame
    ) -> tuple[list[Frame], list[h2.events.Event]]:
        """Report the frame. h2 would take no more of the streams that the server still answers."""
        ended = h2.events.ConnectionTerminated()
        ended.error_code, ended.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [ended]


class _Http2Connection(asyncio.Protocol):
    """One connection and its streams."""

    _CONFIG: ClassVar = h2.config.H2Configuration(header_encoding=None)

    def __init__(self, has_room: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._h2 = _H2(self._CONFIG)
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._has_room = has_room
        self._heard_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.is_ready: asyncio.Future[None] = self._loop.create_future()
        self.is_closed = self.is_retired = False

    @property
    def allowed_streams(self) -> int:
        """How many streams the server takes."""
        return self._h2.remote_settings.max_concurrent_streams

    @property
    def open_streams(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    def send(self, request: httpx2.Request) -> _Stream:
        """Send a request without a body, on a new stream. Raises httpx2.TransportError."""
        if self.is_closed:
            raise httpx2.RemoteProtocolError("the connection was closed")
        headers = [
            (b":method", request.method.encode()),
            (b":authority", request.headers["Host"].encode()),
            (b":scheme", b"https"),
            (b":path", request.url.raw_path),
            *((n.lower(), v) for n, v in request.headers.raw if n.lower() not in _HTTP1_ONLY),
        ]
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, headers, end_stream=True)
        except h2.exceptions.ProtocolError as error:
            self._end(httpx2.LocalProtocolError(type(error).__name__))
            raise httpx2.LocalProtocolError(type(error).__name__) from None
        self._flush()
        self._streams[number] = stream = _Stream(self, number)
        return stream

    def retire(self) -> None:
        """Take no more streams, and close when the last one ends."""
        self.is_retired = True
        if not self._streams:
            self.close()

    def close(self) -> None:
        """Close the connection and all its streams."""
        self._end(httpx2.ReadError("the connection was closed"))

    def taken(self, length: int, number: int) -> None:
        """Let the server send as much again: a reader has taken it."""
        if length and not self.is_closed:
            with suppress(h2.exceptions.ProtocolError):  # the stream may have ended
                self._h2.acknowledge_received_data(length, number)
            self._flush()

    def forget(self, number: int, unread: int) -> None:
        """End a stream; the server is to send no more on it."""
        stream = self._streams.pop(number, None)
        self.taken(unread, number)
        if stream is not None and not stream.has_ended and not self.is_closed:
            with suppress(h2.exceptions.ProtocolError):
                self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
            self._flush()
        if self.is_retired and not self._streams:
            self.close()
        self._has_room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._end(NoHttp2Error())
            return
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 2**16,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._flush()
        self._timer = self._loop.call_later(PING_SECONDS, self._check, None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(httpx2.RemoteProtocolError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._end(httpx2.RemoteProtocolError(type(error).__name__))
            return
        for event in events:
            self._handle(event)
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            if not self.is_ready.done():
                self.is_ready.set_result(None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._go_away(event)
        else:
            stream = self._streams.get(getattr(event, "stream_id", None) or 0)
            if stream is not None:
                stream.handle(event)
            elif isinstance(event, h2.events.DataReceived):
                self.taken(event.flow_controlled_length or 0, event.stream_id or 0)

    def _go_away(self, event: h2.events.ConnectionTerminated) -> None:
        """Send no more requests. Those that the server has taken go on, if it has no error."""
        error = httpx2.RemoteProtocolError("the server ended the connection")
        if event.error_code:
            self._end(error)
            return
        for number in [each for each in self._streams if each > (event.last_stream_id or 0)]:
            self._streams.pop(number).fail(type(error)(*error.args))
        self.retire()
        self._has_room.set()

    def _check(self, asked_at: float | None) -> None:
        """End the connection if nothing came since it was asked; ask if it has been silent."""
        now = self._loop.time()
        if asked_at is not None and self._heard_at < asked_at:
            self._end(httpx2.ReadError("the connection does not respond"))
            return
        asked_at = None
        if now - self._heard_at >= PING_SECONDS:
            asked_at = now
            self._h2.ping(b"are you?")
            self._flush()
        self._timer = self._loop.call_later(PING_SECONDS, self._check, asked_at)

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    def _end(self, error: httpx2.TransportError | NoHttp2Error) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if not self.is_ready.done():
            self.is_ready.set_exception(error)
            self.is_ready.exception()  # nobody may wait for it
        for stream in self._streams.values():
            stream.fail(type(error)(*error.args))
        self._streams.clear()
        self._has_room.set()
        if self._transport is not None:
            self._transport.abort()


class _Stream(httpx2.AsyncByteStream):
    """One request, and its response: the head, and the body as chunks."""

    __slots__ = ("_chunks", "_connection", "_error", "_head", "_number", "_waiter", "has_ended")

    def __init__(self, connection: _Http2Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.has_ended = False

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return status and headers."""
        while self._head is None:
            if self._error is not None or self.has_ended:
                raise self._error or httpx2.RemoteProtocolError("the response has no headers")
            await self._more()
        return self._head

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._chunks or await self._more():
            while self._chunks:
                data, length = self._chunks.popleft()
                self._connection.taken(length, self._number)
                yield data

    async def aclose(self) -> None:
        """End it, whatever has not been read."""
        self._connection.forget(self._number, sum(length for _, length in self._chunks))
        self._chunks.clear()

    def handle(self, event: h2.events.Event) -> None:
        """Take what has arrived."""
        if isinstance(event, h2.events.ResponseReceived):
            headers = list(event.headers or ())
            status = next(int(value) for name, value in headers if name == b":status")
            self._head = status, [each for each in headers if each[0] != b":status"]
        elif isinstance(event, h2.events.DataReceived):
            self._chunks.append((event.data or b"", event.flow_controlled_length or 0))
        elif isinstance(event, h2.events.StreamEnded):
            self.has_ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.has_ended = True
            self.fail(httpx2.RemoteProtocolError(f"the stream was reset: {event.error_code}"))
        self._wake()

    def fail(self, error: Exception) -> None:
        """Let its reader fail, after what it has received."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> bool:
        """Wait for more; return False at the end."""
        if self._error is None and not self.has_ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._error is not None and not self._chunks:
            raise self._error
        return not self.has_ended or bool(self._chunks)


_HTTP1_ONLY = {b"host", b"connection", b"transfer-encoding", b"keep-alive", b"upgrade"}
