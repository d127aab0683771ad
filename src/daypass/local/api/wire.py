"""HTTP/1.1 over TLS for the Api: h11 reads and writes, asyncio waits. Nothing here ticks.

A connection is one coroutine: read a request whole, hand it over, write the answer, begin anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import ssl
from email.utils import formatdate

import h11

from daypass._core.clock import Clock
from daypass.local.api.api import Api
from daypass.local.api.decoding import BODY_LIMIT_BYTES
from daypass.local.api.reading import Watch
from daypass.local.api.requests import Request, Response, dump
from daypass.local.api.store import Event

HEAD_LIMIT_BYTES = 128 * 1024
IDLE_SECONDS, REQUEST_SECONDS = 90.0, 32.0
"""How long a connection may say nothing, and how long a request may take to arrive."""
WATCH_BACKLOG = 4096
"""Changes that a slow watcher may be behind before its watch ends."""
DISCARDED_BYTES, DISCARDING_SECONDS = 16 * 1024 * 1024, 2.0
"""How much of a body that is too long is still read, and for how long."""
_CHUNK = 64 * 1024


class Connection:
    """One client."""

    def __init__(
        self, api: Api, clock: Clock, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._api = api
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)

    async def serve(self) -> None:
        """Answer until either side has enough."""
        with contextlib.suppress(OSError, TimeoutError, h11.LocalProtocolError):
            try:
                while (request := await self._request()) is not None:
                    await self._answer(request)
                    if self._http.our_state is not h11.DONE:
                        return
                    self._http.start_next_cycle()
            except h11.RemoteProtocolError as error:
                code = http.HTTPStatus(error.error_status_hint)
                text = f"{code.value} {code.phrase}"
                await self._send(Response.of_text(text, code.value), close=True)

    async def _request(self) -> Request | None:
        """The next request, whole; of a body that is too long only as much as shows it."""
        async with asyncio.timeout(IDLE_SECONDS) as patience:
            head = await self._next(patience)
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while isinstance(event := await self._next(None), h11.Data):
                body += event.data
                if len(body) > BODY_LIMIT_BYTES:
                    break
        return Request(
            method=head.method.decode(),
            target=head.target.decode(),
            headers=tuple(
                (name.decode(), value.decode("utf-8", "surrogateescape"))
                for name, value in head.headers
            ),
            body=bytes(body),
        )

    async def _next(self, patience: asyncio.Timeout | None) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                ready = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._http.send(ready) or b"")
            self._http.receive_data(await self._reader.read(_CHUNK))
            if patience is not None:  # it has begun: from now on it has to go on
                patience.reschedule(asyncio.get_running_loop().time() + REQUEST_SECONDS)
                patience = None
        return event

    async def _answer(self, request: Request) -> None:
        with self._api.lock:  # so that a watch misses nothing
            answer = self._api.handle(request)
            follower = Follower(answer) if isinstance(answer, Watch) else None
        if isinstance(answer, Watch) and follower is not None:
            with contextlib.closing(follower):
                await self._stream(answer, follower)
        elif isinstance(answer, Response):
            await self._send_whole(request, answer)

    async def _send_whole(self, request: Request, answer: Response) -> None:
        too_long = len(request.body) > BODY_LIMIT_BYTES
        await self._send(answer, close=too_long, bodiless=request.method == "HEAD")
        if too_long:
            await self._discard()

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        fields = [*headers, ("Date", formatdate(self._clock.unix(), usegmt=True))]
        if not any(name == "Cache-Control" for name, _ in headers):
            fields.append(("Cache-Control", "no-cache, private"))
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        reason = http.HTTPStatus(status).phrase.encode()
        head = h11.Response(status_code=status, headers=encoded, reason=reason)
        return self._http.send(head) or b""

    async def _send(self, answer: Response, *, close: bool, bodiless: bool = False) -> None:
        headers = [*answer.headers, ("Content-Type", answer.content_type)]
        headers.append(("Content-Length", str(len(answer.body))))
        if close:
            headers.append(("Connection", "close"))
        out = self._head(answer.status, headers)
        if not bodiless:
            out += self._http.send(h11.Data(data=answer.body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        self._writer.write(out)
        await self._writer.drain()

    async def _discard(self) -> None:
        """Read on for a moment: closing over unread bytes takes the answer from the client."""
        left = DISCARDED_BYTES
        async with asyncio.timeout(DISCARDING_SECONDS):
            while left > 0 and (read := await self._reader.read(_CHUNK)):
                left -= len(read)

    async def _stream(self, watch: Watch, follower: Follower) -> None:
        """Send lines until the time is up, the client leaves, or it falls too far behind."""
        self._writer.write(self._head(200, [("Content-Type", "application/json")]))
        for event in watch.first:
            await self._line(dump(event))
        gone = asyncio.create_task(self._left())
        gone.add_done_callback(lambda _: follower.lines.put_nowait(b""))
        try:
            async with asyncio.timeout(watch.seconds):
                while line := await follower.lines.get():
                    await self._line(line)
        except TimeoutError:
            if (last := watch.last()) is not None:
                await self._line(dump(last))
        finally:
            gone.cancel()
            await asyncio.wait([gone])  # a stream has one reader, and the next request needs it
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    async def _line(self, line: bytes) -> None:
        self._writer.write(self._http.send(h11.Data(data=line)) or b"")
        await self._writer.drain()

    async def _left(self) -> None:
        """Return when the client has gone away, or sends more than a next request may begin with.

        What it sends is kept for after the watch.
        """
        with contextlib.suppress(OSError):
            while chunk := await self._reader.read(_CHUNK):
                self._http.receive_data(chunk)
                if len(self._http.trailing_data[0]) > HEAD_LIMIT_BYTES:
                    return


class Follower:
    """Gathers a watch's lines, from whatever thread the changes are made on.

    An empty line is the end. Made under the Api's lock.
    """

    def __init__(self, watch: Watch) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        watch.store.listeners.append(self._tell)

    def close(self) -> None:
        """Hear no more."""
        self._watch.store.listeners.remove(self._tell)

    def _tell(self, event: Event) -> None:
        if line := self._watch.line(event):
            self._loop.call_soon_threadsafe(self._put, line)

    def _put(self, line: bytes) -> None:
        self.lines.put_nowait(line if self.lines.qsize() < WATCH_BACKLOG else b"")


def server_context(certificate_file: str, key_file: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, HTTP/1.1. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_file, key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
