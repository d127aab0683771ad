"""TokenReviews: their requests and results, and the connections to the API server.

A refused token is a 201 too, with `status.error`; the caller checks which audiences hold
(k8s.io/api/authentication/v1). The HTTP client is its own, since a general one costs more CPU than
everything else in a review. What it reads is bounded; TLS verifies the API server by the CA of the
kubeconfig or the Pod.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.parse
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import cast

import httptools

from daypass._core import VERSION
from daypass._core.clock import Clock, random_fraction
from daypass._core.k8s_status import Status, parse_retry_after
from daypass._core.secret import Secret, redact_response
from daypass.kube.connection import Authenticator, ConnectionConfig
from daypass.kube.errors import KubeconfigError
from daypass.rules.decision import Review

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
LIMIT_BYTES = 256 * 1024
LIMIT_AUDIENCES = 100
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
LIVES_SECONDS = 300.0
"""Connections are closed then, so that all API servers behind one address get some."""
AUTHORIZED_SECONDS = 10.0
"""How long credentials are cached; the kubelet replaces them well before they expire."""
_ABOUT_TOKEN = (400, 413, 414, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFailure:
    """The API server gave no result. `why` is for people, and holds no token.

    `about_token`: it failed because of this token, or is slow, and may work for others.
    """

    why: str
    about_token: bool = False
    retry_after_seconds: float | None = None


def body_for(audience: str) -> tuple[bytes, bytes]:
    """Return the request's body before and after the token, which JSON need not escape."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"audiences": [audience], "token": ""},
    }
    before, quote, after = json.dumps(review).encode().rpartition(b'"')
    return before, quote + after


def read_response(
    code: int, retry_after: str, body: bytes, *secrets: Secret
) -> Review | ReviewFailure:
    """Return the result. `retry_after`: that header, or "". `secrets`: what was sent."""
    if code not in (200, 201):
        return _failure(code, retry_after, redact_response(body, *secrets))
    try:
        status = json.loads(body)["status"]
        user = status.get("user") or {}
        audiences = status.get("audiences") or []
        review = Review(
            authenticated=status.get("authenticated") is True,
            user=str(user.get("username", "")),
            audiences=tuple(str(each) for each in audiences[:LIMIT_AUDIENCES]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ReviewFailure(why="the API server's response is not a TokenReview")
    return review


def _failure(code: int, retry_after: str, body: bytes) -> ReviewFailure:
    status = Status.parse(body)
    message = status.message if status is not None else ""
    if code in (401, 403):
        return ReviewFailure(
            why=f"the gate may not create TokenReviews: {code} {message[:256]}; bind "
            "ClusterRole system:auth-delegator to its ServiceAccount"
        )
    seconds = parse_retry_after(retry_after) if code in (429, 503) else None
    return ReviewFailure(
        why=f"the API server answered {code} {message[:256]}",
        retry_after_seconds=seconds,
        about_token=code in _ABOUT_TOKEN,
    )


class ApiServerReviews:
    """Sends TokenReviews; `ask` may run many times at once, in one event loop.

    Raises KubeconfigError if the connection can't be used.
    """

    def __init__(self, connection: ConnectionConfig, audience: str, clock: Clock) -> None:
        if connection.proxy:
            raise KubeconfigError("the gate asks the API server directly, and not by a proxy", "")
        url = urllib.parse.urlsplit(connection.server)
        self._clock = clock
        self._authenticator = Authenticator(connection, clock)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._name = connection.tls_server_name or self._host
        self._tls = self._authenticator.tls if url.scheme == "https" else None
        self._head = _head(url, connection)
        self._before, self._after = body_for(audience)
        self._idle: list[_Connection] = []
        self._authorization = b""
        self._authorized_at: float | None = None

    async def ask(self, token: str) -> Review | ReviewFailure:
        """Return the API server's result for a token."""
        body = b"".join((self._before, token.encode(), self._after))
        answer = await self._answer(self._request(await self._authorized(renew=False), body))
        if not isinstance(answer, ReviewFailure) and answer[0] == 401:
            # Its own credentials may have expired.
            answer = await self._answer(self._request(await self._authorized(renew=True), body))
        if isinstance(answer, ReviewFailure):
            return answer
        own = self._authorization.decode("latin-1").strip().rpartition(" ")[2]
        return read_response(*answer, Secret(token), Secret(own))

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _authorized(self, *, renew: bool) -> bytes:
        now = self._clock.monotonic()
        at = self._authorized_at
        if renew or at is None or now - at > AUTHORIZED_SECONDS:
            self._authorized_at = now
            # On another thread: it may read a file or start a program.
            loop = asyncio.get_running_loop()
            read = partial(self._authenticator.authorization, renew=renew)
            self._authorization = (await loop.run_in_executor(None, read)).encode("ascii")
        return self._authorization

    def _request(self, authorization: bytes, body: bytes) -> bytes:
        line = b"authorization: %b\r\n" % authorization if authorization else b""
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (self._head, line, len(body), body)

    async def _answer(self, request: bytes) -> tuple[int, str, bytes] | ReviewFailure:
        try:
            while True:
                connection = self._pooled()
                is_reused = connection is not None
                if connection is None:
                    connection = await self._connect()
                try:
                    answer = await connection.exchange(request, ANSWER_SECONDS)
                except ConnectionError:
                    if is_reused:  # it may be closed already; repeating a review is harmless
                        continue
                    raise
                if connection.is_reusable:
                    self._idle.append(connection)
                else:
                    connection.close()
                return answer
        except TimeoutError:
            # It took the request: a webhook may be slow about this token.
            return ReviewFailure(why="the API server does not answer in time", about_token=True)
        except ssl.SSLCertVerificationError as error:
            return ReviewFailure(why=f"the API server is not trusted: {error.verify_message}")
        except (OSError, httptools.HttpParserError) as error:
            return ReviewFailure(why=f"the API server cannot be reached: {error}")

    def _pooled(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed and now < connection.lives_until:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    _Connection,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._name if self._tls else None,
                )
        except TimeoutError:
            raise ConnectionRefusedError("it does not accept a connection in time") from None
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with at most one request in flight."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._answered: asyncio.Future[tuple[int, str, bytes]] | None = None
        self._received = 0
        self.is_closed = False
        self.is_reusable = False
        self.lives_until = self._loop.time() + LIVES_SECONDS * (0.8 + 0.4 * random_fraction())
        self._parser = httptools.HttpResponseParser(self)
        self._retry_after = b""
        self._body: deque[bytes] = deque()

    async def exchange(self, request: bytes, seconds: float) -> tuple[int, str, bytes]:
        """Return the whole response. Raises TimeoutError, OSError, HttpParserError."""
        self._answered = answered = self._loop.create_future()
        self._received, self.is_reusable, self._retry_after = 0, False, b""
        self._body.clear()
        timer = self._loop.call_later(seconds, self._end, TimeoutError())
        try:
            if self.is_closed or self._transport is None:
                raise ConnectionError("it was closed")
            self._transport.write(request)
            result: tuple[int, str, bytes] = await answered
            return result
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close it."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        self._end(ConnectionError("the connection broke"))

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LIMIT_BYTES or self._answered is None:
            self._end(ConnectionError("the answer is too large"))
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(ConnectionError(f"the answer is not HTTP: {type(error).__name__}"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.is_reusable = self._parser.should_keep_alive()
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            code = self._parser.get_status_code()
            answered.set_result((code, self._retry_after.decode("latin-1"), b"".join(self._body)))

    def _end(self, error: Exception) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(error)


def _head(url: urllib.parse.SplitResult, connection: ConnectionConfig) -> bytes:
    lines = [
        f"POST {url.path.rstrip('/')}{PATH} HTTP/1.1",
        f"host: {url.netloc}",
        f"user-agent: daypass-gate/{VERSION}",
        "accept: application/json",
        "content-type: application/json",
        *(f"{name}: {value}" for name, value in connection.impersonate),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
