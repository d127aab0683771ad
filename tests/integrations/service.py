"""A small HTTPS service that records its requests byte for byte."""

from __future__ import annotations

import http.server
import ssl
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from support.authority import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        """The bearer token."""
        value = self.headers.get("authorization", "")
        return value.removeprefix("Bearer ") if value.startswith("Bearer ") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer."""

    code: int = 200
    location: str = ""
    cookie: str = ""


class Service:
    """HTTP/1.1 on a free port, with TLS if there is a certificate; ends with its context.

    `answer` decides what to say, and is a test's to set. `answers_early`: a request with a body is
    answered before the body is read. `connections`: those that are open.
    """

    def __init__(self, certificate: Certificate | None) -> None:
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], Said] = lambda _: Said()
        self.answers_early = False
        self.connections: set[object] = set()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if certificate is not None:
            context = _context(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if certificate is None else "https"
        self.origin = f"{scheme}://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def tokens(self) -> list[str | None]:
        """The tokens of all requests, in order."""
        return [seen.token for seen in self.seen]

    def refuse_the_first_token(self) -> None:
        """Say 401 to the token that comes first, and to requests without one."""
        self.answer = lambda seen: (
            Said(code=401) if seen.token in (None, self.tokens[0]) else Said()
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(certificate.key_pem + certificate.certificate_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _handler(service: Service) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            early = service.answers_early and self.headers.get("content-length", "0") != "0"
            body = b"" if early else self._body()
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(method=self.command, path=self.path, headers=headers, body=body)
            service.seen.append(seen)
            said = service.answer(seen)
            self.send_response(said.code)
            for name, value in (("location", said.location), ("set-cookie", said.cookie)):
                if value:
                    self.send_header(name, value)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
            if early:
                self._body()

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = _answer

        def handle(self) -> None:
            service.connections.add(self)
            with suppress(OSError):  # the client may go away, which is its good right
                super().handle()
            service.connections.discard(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
            """Say nothing."""

    return Handler
