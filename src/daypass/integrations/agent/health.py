"""What probes and Prometheus ask: /healthz, /readyz and /metrics. Paths and numbers, no token."""

import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self

from daypass._core.errors import DaypassError
from daypass.integrations.agent.keeper import Status

REQUEST_SECONDS = 5.0

Statuses = Callable[[], Sequence[Status]]
Figure = Callable[[Status], float | None]

_METRICS: tuple[tuple[str, str, str, Figure], ...] = (
    ("renewals_total", "counter", "Token files renewed.", lambda it: it.renewals),
    ("failures_total", "counter", "Renewals that failed.", lambda it: it.failures),
    ("hook_failures_total", "counter", "Hooks that failed.", lambda it: it.hook_failures),
    ("good", "gauge", "1 while the file holds a token that is good.", lambda it: it.is_good),
    (
        "expiry_seconds",
        "gauge",
        "Seconds until the token in the file ends; less than 0 after it has.",
        lambda it: it.left_seconds,
    ),
)


def readiness(statuses: Sequence[Status]) -> tuple[int, str]:
    """200 where every file holds a good token, else 503 and which do not."""
    bad = [
        f"{status.path}: {'no token yet' if status.left_seconds is None else 'its token has ended'}"
        for status in statuses
        if not status.is_good
    ]
    return (503, "\n".join(bad) + "\n") if bad else (200, "every token is good\n")


def metrics(statuses: Sequence[Status]) -> str:
    """All figures in Prometheus' text format."""
    lines = []
    for name, kind, words, figure in _METRICS:
        full = f"daypass_agent_{name}"
        lines += [f"# HELP {full} {words}", f"# TYPE {full} {kind}"]
        for status in statuses:
            value = figure(status)
            if value is not None:
                path = status.path.replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'{full}{{path="{path}"}} {round(value)}')
    return "\n".join(lines) + "\n"


class Health:
    """The endpoints, on a thread of their own until the block ends. `address`: host and port."""

    def __init__(self, listen: tuple[str, int], statuses: Statuses) -> None:
        class Handler(_Handler):
            answers = _answers(statuses)

        try:
            self._server = _server(listen[0])(listen, Handler)
        except OSError as error:
            raise DaypassError(
                f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror}",
                "name another port with `listen`",
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


def _answers(statuses: Statuses) -> dict[str, Callable[[], tuple[int, str]]]:
    return {
        "/healthz": lambda: (200, "alive\n"),
        "/readyz": lambda: readiness(statuses()),
        "/metrics": lambda: (200, metrics(statuses())),
    }


def _server(host: str) -> type[ThreadingHTTPServer]:
    import socket

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        block_on_close = False

        def server_bind(self) -> None:
            """Without HTTPServer's question to the DNS for this machine's name."""
            TCPServer.server_bind(self)

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no event of ours."""

    return Server


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Callable[[], tuple[int, str]]]
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer one of three paths."""
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
