"""The running API server: a thread, a port, TLS, and HTTP/1.1 by h11 and asyncio.

Each connection is one coroutine: it reads a whole request, hands it to the Api, and writes the
response.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import socket
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, cast

import h11

from daypass._core.clock import Clock
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass._core.server.loop_thread import LoopThread
from daypass._core.tls import server_context
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.objects import Watch
from daypass.local.apiserver.requests import ApiRequest, ApiResponse, to_json
from daypass.local.apiserver.schema import BODY_LIMIT_BYTES
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.store import StoreEvent
from daypass.local.apiserver.tokens import ISSUER

HEAD_LIMIT_BYTES = 128 * 1024
IDLE_SECONDS, REQUEST_SECONDS = 90.0, 32.0
"""How long a connection may be silent, and how long a request may take to arrive."""
WATCH_BACKLOG = 4096
"""How many changes a slow watcher may fall behind before its watch ends."""
_CHUNK = 64 * 1024
HOST = "127.0.0.1"
HANDSHAKE_SECONDS = 10.0
BACKLOG = 512
_log = logging.getLogger("daypass.local.apiserver")


class _ClientConnection:
    def __init__(
        self, api: Api, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._api = api
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)

    async def serve(self) -> None:
        """Answer requests until either side closes the connection."""
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
                await self._send(ApiResponse.of_text(text, code.value), close=True)

    async def _request(self) -> ApiRequest | None:
        """Return the next request. Of a body that is too long, only the beginning is kept."""
        async with asyncio.timeout(IDLE_SECONDS) as deadline:
            head = await self._next(deadline)
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while isinstance(event := await self._next(None), h11.Data):
                if len(body) <= BODY_LIMIT_BYTES:
                    body += event.data
        return ApiRequest(
            method=head.method.decode(),
            target=head.target.decode(),
            headers=tuple(
                (name.decode(), value.decode("utf-8", "surrogateescape"))
                for name, value in head.headers
            ),
            body=bytes(body),
        )

    async def _next(self, deadline: asyncio.Timeout | None) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                ready = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._http.send(ready) or b"")
            self._http.receive_data(await self._reader.read(_CHUNK))
            if deadline is not None:  # the request has begun
                deadline.reschedule(asyncio.get_running_loop().time() + REQUEST_SECONDS)
                deadline = None
        return event

    async def _answer(self, request: ApiRequest) -> None:
        with self._api.lock:  # so that a watch misses nothing
            answer = self._api.handle(request)
            stream = _WatchStream(answer) if isinstance(answer, Watch) else None
        if isinstance(answer, Watch) and stream is not None:
            with contextlib.closing(stream):
                await self._stream(answer, stream)
        elif isinstance(answer, ApiResponse):
            await self._send(answer, bodiless=request.method == "HEAD")

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        date = formatdate(self._api.state.clock.unix(), usegmt=True)
        fields = [*headers, ("Date", date), ("Cache-Control", "no-cache, private")]
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        reason = http.HTTPStatus(status).phrase.encode()
        head = h11.Response(status_code=status, headers=encoded, reason=reason)
        return self._http.send(head) or b""

    async def _send(
        self, answer: ApiResponse, *, close: bool = False, bodiless: bool = False
    ) -> None:
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

    async def _stream(self, watch: Watch, stream: _WatchStream) -> None:
        """Send lines until the time is up, the client closes, or it falls too far behind."""
        self._writer.write(self._head(200, [("Content-Type", "application/json")]))
        for event in watch.first:
            await self._line(event)
        gone = asyncio.create_task(self._left())
        gone.add_done_callback(lambda _: stream.events.put_nowait(None))
        try:
            async with asyncio.timeout(watch.seconds):
                while (shown := await stream.events.get()) is not None:
                    await self._line(shown)
        except TimeoutError:
            if bookmark := watch.bookmark():
                await self._line(bookmark)
        finally:
            gone.cancel()
            await asyncio.wait([gone])  # a stream has one reader, and the next request needs it
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    async def _line(self, event: Object) -> None:
        self._writer.write(self._http.send(h11.Data(data=to_json(event))) or b"")
        await self._writer.drain()

    async def _left(self) -> None:
        """Return when the client closes, or sends more than the head of a next request may have.

        What it sends is read after the watch.
        """
        with contextlib.suppress(OSError):
            while chunk := await self._reader.read(_CHUNK):
                self._http.receive_data(chunk)
                if len(self._http.trailing_data[0]) > HEAD_LIMIT_BYTES:
                    return


class _WatchStream:
    """Collects the events of a watch, from any thread; None ends it."""

    def __init__(self, watch: Watch) -> None:
        self.events: asyncio.Queue[Object | None] = asyncio.Queue()
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        watch.store.listeners.append(self._collect)

    def close(self) -> None:
        self._watch.store.listeners.remove(self._collect)

    def _collect(self, event: StoreEvent) -> None:
        if shown := self._watch.show(event):
            self._loop.call_soon_threadsafe(self._put, shown)

    def _put(self, event: Object) -> None:
        self.events.put_nowait(event if self.events.qsize() < WATCH_BACKLOG else None)


class ApiServer:
    """An API server on a free port and a thread of its own, running until `stop`.

    `certificate_authority`: PEM, for token Secrets and kube-root-ca.crt. `state_file`: keeps
    objects, keys and the admin token between runs. `admin_token` is its administrator's. Raises
    OSError, ssl.SSLError, StateFileError, UnsafeFileError.
    """

    def __init__(
        self,
        *,
        certificate_file: Path,
        key_file: Path,
        certificate_authority: str,
        clock: Clock,
        state_file: Path | None = None,
    ) -> None:
        self._tls = server_context(str(certificate_file), str(key_file))
        self._tls.set_alpn_protocols(["http/1.1"])
        self._listening = socket.create_server((HOST, 0))
        # Accepted sockets inherit it. asyncio sets it only if the protocol is named, and without it
        # each TLS handshake waits 40 ms for a delayed acknowledgement.
        self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"https://{HOST}:{self.port}"
        try:
            state = ServerState(
                certificate_authority=certificate_authority,
                url=self.url,
                clock=clock,
                file=state_file,
            )
            self.api = Api(state)
        except BaseException:
            self._listening.close()
            raise
        self.issuer = ISSUER
        self.admin_token = state.authenticator.admin_token
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = LoopThread("daypass-api", self._accepting())
        self._thread.start()

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The IDs of the keys that tokens are verified with; the first one signs."""
        return tuple(key.kid for key in self.api.state.issuer.keys.keys)

    @property
    def key_set(self) -> dict[str, Any]:
        with self.api.lock:
            return self.api.state.issuer.keys.jwks()

    def rotate_signing_key(self) -> str:
        """Sign with a new key from now on and return its ID; older tokens stay valid."""
        with self.api.lock:
            kid = self.api.state.issuer.keys.rotate()
            self.api.state.save()
        return kid

    def retire_signing_key(self, kid: str) -> None:
        """Invalidate every token that a key has signed. Raises UnknownKeyError."""
        with self.api.lock:
            self.api.state.issuer.keys.retire(kid)
            self.api.state.authenticator.clear_cache()
            self.api.state.save()

    def unsafe_sign(self, claims: dict[str, Any]) -> Secret:
        """Return a JWT with any claims, for tests of what must be refused."""
        return Secret(self.api.state.issuer.keys.current.sign(claims))

    def stop(self) -> None:
        """Close every connection and end the thread. Safe to call twice."""
        self._thread.stop()

    @contextlib.asynccontextmanager
    async def _accepting(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_quiet)
        # TLS begins in the connection's own task: asyncio may forget to close a connection that it
        # has accepted with TLS and not yet handed over.
        server = await asyncio.start_server(self._connected, sock=self._listening, backlog=BACKLOG)
        try:
            yield
        finally:
            # Accept no more, but take over what has been accepted: a closed server would forget it.
            loop.remove_reader(self._listening)
            while asyncio.all_tasks() - {asyncio.current_task()}:
                for task in self._connections:
                    task.cancel()
                await asyncio.sleep(0)
            server.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast("asyncio.Transport", writer.transport).pause_reading()  # what comes next is for TLS
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._connections.discard(task)
            writer.transport.abort()

        task.add_done_callback(ended)  # also runs if the task is cancelled before it has begun

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await writer.start_tls(self._tls, ssl_handshake_timeout=HANDSHAKE_SECONDS)
            await _ClientConnection(self.api, reader, writer).serve()
            writer.close()
            await writer.wait_closed()  # until the client has closed as well


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log broken connections at debug level only."""
    _log.debug("%s", context.get("message"), exc_info=context.get("exception"))
