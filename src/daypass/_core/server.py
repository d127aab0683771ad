"""What daypass's own servers and daemons need: a log of events as JSON lines, their end, and
health, readiness and metrics over plain HTTP, for probes and Prometheus.

The HTTP server runs on threads of its own, so that it answers while an event loop is busy. What it
reads, how long it waits and how many connections it holds are bounded; http.server has a limit for
the time of each read alone.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from queue import SimpleQueue
from socketserver import BaseRequestHandler, BaseServer, ThreadingTCPServer
from typing import Any, Self

from daypass._core.clock import SYSTEM_CLOCK, Clock, utc
from daypass._core.errors import DaypassError
from daypass._core.net import bracketed

MAX_OPEN_FILES = 65_536


def write_stdout(line: str) -> None:
    """Write a line to stdout at once. Raises OSError."""
    sys.stdout.write(line)
    sys.stdout.flush()


def write_stderr(line: str) -> None:
    """Write a line to stderr at once, unless it was closed before the start. Raises OSError."""
    if sys.stderr is not None:
        sys.stderr.write(line)
        sys.stderr.flush()


class JsonLog:
    """Writes events through `write`, one whole line each."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock

    def event(self, event: str, **fields: object) -> None:
        """Write one event. Raises what `write` raises."""
        time = utc(self._clock.unix()).replace(tzinfo=None).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": f"{time}Z", "event": event, **fields}) + "\n")


def allow_many_files() -> None:
    """Raise the limit of open files as far as it goes, as Envoy and programs in Go do.

    Service managers and shells set 1024, for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system's own limit may be lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def handle_end_signals(handle: Callable[[], object]) -> None:
    """Call `handle` at Ctrl-C, at SIGTERM, and when the terminal is closed, unless nohup ignores
    that.

    On a thread of its own: the main thread may hold a lock that `handle` needs, of an Event, say.
    """
    received: SimpleQueue[int] = SimpleQueue()  # its `put` may interrupt another call of it

    def wait() -> None:
        while received.get():
            handle()

    threading.Thread(target=wait, name="daypass-signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: received.put(number))


# -- health, readiness and metrics

REQUEST_SECONDS = 5.0
LIMIT_BYTES = 8 * 1024
LIMIT_CONNECTIONS = 64
POLL_SECONDS = 0.2
"""How long a stop may take."""

Routes = Mapping[str, Callable[[], tuple[int, str]]]
"""By path: returns the status code and the body."""


def health_routes(
    *,
    metrics: Callable[[], str],
    why_not_ready: Callable[[], str],
    why_not_alive: Callable[[], str] = lambda: "",
) -> Routes:
    """Return `/healthz`, `/readyz` and `/metrics`, from functions that return the reason, or ""."""

    def probe(name: str, code: int, why_not: Callable[[], str]) -> tuple[int, str]:
        why = why_not()
        return (code, f"{why}\n") if why else (200, f"{name}\n")

    return {
        "/healthz": lambda: probe("alive", 500, why_not_alive),
        "/readyz": lambda: probe("ready", 503, why_not_ready),
        "/metrics": lambda: (200, metrics()),
    }


class ServerThread:
    """Runs a server, which listens already, from `start` to `stop`, or inside a `with` block."""

    def __init__(self, server: BaseServer, name: str) -> None:
        self._running = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=[POLL_SECONDS], name=name, daemon=True
        )

    def start(self) -> None:
        """Answer requests in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and listen no more."""
        self._running.shutdown()
        self._running.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class StatusServer(ServerThread):
    """Listens from the beginning on.

    `listen`: host and port; the host `*`, or none, is all addresses. `address`: where it listens.
    `hint`: what to do if it can't listen there. Raises DaypassError.
    """

    def __init__(self, listen: tuple[str, int], routes: Routes, hint: str) -> None:
        host, port = listen
        if host in ("", "*"):
            host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - as asked
        try:
            server = _Server((host, port), routes)
        except OSError as error:
            shown = f"{bracketed(listen[0] or '*')}:{port}"
            raise DaypassError(
                f"cannot listen on {shown}: {error.strerror or error}", hint
            ) from None
        super().__init__(server, "daypass-status")
        self.address: tuple[str, int] = server.socket.getsockname()[:2]


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 2 * LIMIT_CONNECTIONS

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.routes = routes
        self.connections: dict[Any, None] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.connections[request] = None
            if len(self.connections) > LIMIT_CONNECTIONS:
                # A probe sends its request at once; the oldest connection has not.
                oldest = next(iter(self.connections))
                del self.connections[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self.connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that go away."""


class _Handler(BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        method, target = self._read()
        if method in (b"GET", b"HEAD"):
            route = self.server.routes.get(target.partition(b"?")[0].decode("latin-1"))
            code, body = route() if route else (404, f"{' '.join(self.server.routes)}\n")
        else:
            code, body = 405, ""
        content = body.encode()
        head = (
            f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\n"
            "content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.request.sendall(head.encode() + (b"" if method == b"HEAD" else content))

    def _read(self) -> tuple[bytes, bytes]:
        """Return the method and the target. Raises OSError."""
        ends_at = SYSTEM_CLOCK.monotonic() + REQUEST_SECONDS
        head = b""
        while b"\r\n\r\n" not in head:
            self.request.settimeout(max(0.001, ends_at - SYSTEM_CLOCK.monotonic()))
            more = self.request.recv(LIMIT_BYTES)
            head += more
            if not more or len(head) > LIMIT_BYTES:
                raise ConnectionError
        parts = head.split(b" ", 2)
        return (parts[0], parts[1]) if len(parts) == 3 else (b"", b"")
