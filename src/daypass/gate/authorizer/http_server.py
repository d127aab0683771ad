"""ext_authz over HTTP/1.1: Envoy sends a request without a body, the response is the decision.

The server reads the request's target, the Host and Authorization headers, whether a header selects
a model, and the client's address; the method does not matter. It decides nothing. What it reads and
keeps is bounded.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from daypass._core.net import source_of
from daypass.gate.authorizer.authorizer import Authorizer, Later
from daypass.gate.authorizer.served_gate import AuthzResponse, unavailable
from daypass.rules.models import MODEL_HEADERS

LIMIT_REQUEST_BYTES = 128 * 1024
"""Headers only; Envoy accepts 60 KiB of them."""
LIMIT_CONNECTIONS = 8192
STALLED_SECONDS = 10.0
_MODEL_HEADERS = frozenset(map(str.encode, MODEL_HEADERS))
SOURCE = b"x-envoy-external-address"
"""The client's address as Envoy knows it; Envoy replaces what the client sends."""


class HttpTransport:
    """The connections of a listener. `is_draining`: each is closed after its next response."""

    def __init__(self, authorizer: Authorizer) -> None:
        self.authorizer = authorizer
        self.connections: set[HttpConnection] = set()
        self.is_draining = False
        self.is_closed = False

    def close_stalled(self) -> None:
        """Abort connections with an unfinished request; call every STALLED_SECONDS."""
        for connection in list(self.connections):
            connection.close_if_stalled()

    def close(self) -> None:
        """Close all connections, and each that comes later."""
        self.is_closed = True
        for connection in list(self.connections):
            connection.close()


class HttpConnection(asyncio.Protocol):
    """A connection from Envoy, with one request at a time."""

    def __init__(self, transport: HttpTransport) -> None:
        self._server = transport
        self._authorizer = transport.authorizer
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._forget_request()
        self._waiting: asyncio.Task[None] | None = None
        """For the response to the request."""
        self._received = 0
        self._seen, self._count = -1, 0

    def close(self) -> None:
        """Close it. A request that waits is refused."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._respond(unavailable(1))
        if self._transport is not None:
            self._transport.close()

    def close_if_stalled(self) -> None:
        """Abort it if the request that was unfinished at the last call still is."""
        if self._received and self._waiting is None and self._count == self._seen:
            self.abort()
        self._seen = self._count if self._received else -1

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._server.connections.add(self)
        if self._server.is_closed or len(self._server.connections) > LIMIT_CONNECTIONS:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def pause_writing(self) -> None:
        # A client that reads no responses sends no more requests.
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LIMIT_REQUEST_BYTES or self._waiting is not None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort()
        except httptools.HttpParserError:
            self._refuse_bytes()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"authorization":
            self._authorizations.append(value)
        elif name == b"host":
            self._hosts.append(value)
        elif name == SOURCE:
            self._source = value
        elif name in _MODEL_HEADERS:
            self._has_model_header = True

    def on_message_complete(self) -> None:
        self._count += 1
        self._received = 0
        if self._waiting is not None or len(self._hosts) != 1:
            self._refuse_bytes()
            return
        host, authorizations = self._hosts[0], self._authorizations
        response: AuthzResponse | Later | None = None
        if len(authorizations) == 1:
            response = self._authorizer.look_up(
                self._target, host, authorizations[0], model_header=self._has_model_header
            )
        if response is None:
            response = self._authorizer.ask(
                self._target,
                host,
                authorizations,
                source=source_of(self._source.decode("latin-1")),
                model_header=self._has_model_header,
            )
        if isinstance(response, AuthzResponse):
            self._respond(response)
        else:
            self._waiting = asyncio.create_task(self._respond_later(response))

    async def _respond_later(self, response: Later) -> None:
        self._respond(await response)

    def _respond(self, response: AuthzResponse) -> None:
        self._waiting = None
        transport = self._transport
        if transport is None:
            return
        is_head = self._parser.get_method() == b"HEAD"
        content = response.http_head if is_head else response.http
        if self._server.is_draining or not self._parser.should_keep_alive():
            line, _, rest = content.partition(b"\r\n")
            self._finish(line + b"\r\nconnection: close\r\n" + rest)
        else:
            transport.write(content)
        self._forget_request()

    def _forget_request(self) -> None:
        self._target = b""
        self._has_model_header = False
        self._hosts: list[bytes] = []
        self._authorizations: list[bytes] = []
        self._source = b""

    def _refuse_bytes(self) -> None:
        self._finish(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    def _finish(self, last: bytes) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.write(last)
            transport.close()
