"""A service for the gate to guard if there is none: it answers with what it received.

`python -m daypass.local.echo PORT` serves it to other machines too, such as in a Pod.
"""

import http.server
import json
import signal
import sys
import threading
from types import TracebackType

from daypass.config import Address

_BODY_LIMIT_BYTES = 1024 * 1024


class _EchoHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version = "daypass-echo"
    wbufsize = -1  # one packet per response: a second one would wait for an acknowledgement

    def _answer(self) -> None:
        self.rfile.read(min(int(self.headers.get("content-length") or 0), _BODY_LIMIT_BYTES))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = {"method": self.command, "path": self.path, "headers": headers}
        body = json.dumps(received, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Log nothing: the gate has a log."""


class Echo:
    """The echo service, on a free port of loopback. Use as a context manager, or call `stop`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = http.server.ThreadingHTTPServer((host, port), _EchoHandler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> Address:
        """The address it listens on."""
        return Address(host="127.0.0.1", port=self._server.server_address[1])

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "Echo":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


if __name__ == "__main__":
    ends = {signal.SIGTERM, signal.SIGINT}
    # As the first process of a container, it would ignore SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Echo(host="", port=int(sys.argv[1])):
        signal.sigwait(ends)
