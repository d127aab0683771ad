"""The running API server: a port, TLS, HTTP/1.1, and a thread for each connection.

A thread reads a whole request, hands it to the Api, and writes the response.
"""

from __future__ import annotations

import logging
import queue
import select
import socket
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.secret import Secret
from daypass._core.server import ServerThread
from daypass._core.tls import server_context
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.handlers import Watch
from daypass.local.apiserver.requests import (
    BODY_LIMIT_BYTES,
    JSON,
    ApiRequest,
    ApiResponse,
    to_json,
)
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.store import StoreEvent
from daypass.local.apiserver.tokens import ISSUER

HOST = "127.0.0.1"
IDLE_SECONDS = 90.0
"""How long a connection may be silent."""
LOOK_SECONDS = 0.5
"""How often a watch looks whether its client has left."""
BACKLOG = 512
_LIMIT_DIGITS = 20
_log = logging.getLogger("daypass.local.apiserver")


class _RequestHandler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Or each handshake and each response would wait 40 ms for a delayed acknowledgement.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.request.do_handshake()

    def answer(self) -> None:
        """Answer one request."""
        if self.headers["transfer-encoding"] is not None:
            self.close_connection = True
            self.send_error(411)
            return
        declared = self.headers["content-length"] or "0"
        if not (declared.isascii() and declared.isdigit() and len(declared) < _LIMIT_DIGITS):
            self.close_connection = True
            self.send_error(400)
            return
        length = int(declared)
        request = ApiRequest(
            method=self.command,
            target=self.requestline.split()[1],
            headers=tuple((name.lower(), value) for name, value in self.headers.items()),
            body=self.rfile.read(min(length, BODY_LIMIT_BYTES + 1)),
        )
        self.close_connection |= length > BODY_LIMIT_BYTES
        events: queue.SimpleQueue[StoreEvent] = queue.SimpleQueue()
        with self.server.api.lock:  # so that a watch misses nothing
            answer = self.server.api.handle(request)
            if isinstance(answer, Watch):
                answer.store.listeners.append(events.put)
        if isinstance(answer, ApiResponse):
            self._send(answer)
            return
        try:
            self._stream(answer, events)
        finally:
            answer.store.listeners.remove(events.put)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _send(self, answer: ApiResponse) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _stream(self, watch: Watch, events: queue.SimpleQueue[StoreEvent]) -> None:
        """Send lines until the time is up, or the client closes or sends something."""
        self.send_response(200)
        self.send_header("Content-Type", JSON)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for shown in watch.first:
            self._chunk(to_json(shown))
        incoming = select.poll()
        incoming.register(self.connection, select.POLLIN)
        ends = SYSTEM_CLOCK.monotonic() + watch.seconds
        while (left := ends - SYSTEM_CLOCK.monotonic()) > 0 and not incoming.poll(0):
            with suppress(queue.Empty):
                event = watch.show(events.get(timeout=min(left, LOOK_SECONDS)))
                if event is not None:
                    self._chunk(to_json(event))
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the API server's own time for the header Date."""
        return formatdate(self.server.api.state.clock.unix(), usegmt=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Log nothing: the door has a log."""


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = BACKLOG
    api: Api

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        self._tls = server_context(str(certificate_file), str(key_file))
        self._tls.set_alpn_protocols(["http/1.1"])
        self._open: set[socket.socket] = set()
        super().__init__((HOST, 0), _RequestHandler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Return a new connection. Its own thread does the handshake."""
        plain, address = super().get_request()
        connection = self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def server_close(self) -> None:
        """Close every connection; the threads then end."""
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log broken connections at debug level only."""
        _log.debug("a connection of %s broke", client_address, exc_info=True)


class ApiServer(ServerThread):
    """An API server on a free port and threads of its own, running until `stop`.

    `certificate_authority`: PEM, for token Secrets. `state_file`: keeps objects, keys and the admin
    token between runs. `admin_token` is its administrator's. Raises OSError, ssl.SSLError,
    StateFileError, UnsafeFileError.
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
        server = _HttpServer(certificate_file, key_file)
        super().__init__(server, "daypass-api")
        self.port: int = server.server_address[1]
        self.url = f"https://{HOST}:{self.port}"
        try:
            state = ServerState(
                certificate_authority=certificate_authority,
                url=self.url,
                clock=clock,
                file=state_file,
            )
            server.api = self.api = Api(state)
        except BaseException:
            server.server_close()
            raise
        self.issuer = ISSUER
        self.admin_token = state.authenticator.admin_token
        self.start()

    @property
    def key_set(self) -> dict[str, Any]:
        """The JSON Web Key Set (RFC 7517) of its signing key."""
        return self.api.state.issuer.jwks()

    def unsafe_sign(self, claims: dict[str, Any]) -> Secret:
        """Return a JWT with any claims, for tests of what must be refused."""
        return Secret(self.api.state.issuer.key.sign(claims))
