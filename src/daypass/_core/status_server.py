"""A few paths over plain HTTP, for probes and Prometheus, on a thread of their own."""

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self

from daypass._core.errors import DaypassError

REQUEST_SECONDS = 5.0

Routes = Mapping[str, Callable[[], tuple[int, str]]]
"""By path: what gives the code and the body."""


class StatusServer:
    """They are there until the block ends. `address`: host and port. The host `*`: all addresses.

    `hint`: what to do where that port cannot be had. Raises DaypassError.
    """

    def __init__(self, listen: tuple[str, int], answers: Routes, hint: str) -> None:
        class Handler(_StatusHandler):
            pass

        Handler.answers = answers
        host, port = listen
        if host == "*":
            host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - as asked
        try:
            self._server = _server(host)((host, port), Handler)
        except OSError as error:
            raise DaypassError(
                f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror}", hint
            ) from None
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _server(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        block_on_close = False

        def server_bind(self) -> None:
            """Without HTTPServer's question to the DNS for this machine's name."""
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            TCPServer.server_bind(self)

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no event of ours."""

    return Server


class _StatusHandler(BaseHTTPRequestHandler):
    answers: Routes
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer one of the paths."""
        answer = self.answers.get(self.path)
        code, text = answer() if answer else (404, f"there is {', '.join(self.answers)}\n")
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """What the Server header says."""
        return "daypass"

    def log_message(self, *_: object) -> None:
        """Probes are no events."""
