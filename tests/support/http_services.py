"""HTTP services of the tests' own, on a free port of loopback."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1 on connections that stay open; logs nothing."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve a connection to its end, which the client may bring about at any time."""
        with suppress(OSError):
            super().handle()

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def fields(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def answer(self, code: int, body: str | bytes = b"", **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Log nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(
    handler: type[http.server.BaseHTTPRequestHandler],
    *,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[int]:
    """Serve until the end of the block, with TLS if there is a context; yields the port."""
    with (_Server6 if ":" in host else _Server)((host, port), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
