"""A service for the gate to guard if there is none: it answers with what it received.

`python -m daypass.local.echo PORT` serves it to other machines too, such as in a Pod.
"""

import http.server
import json
import signal
import sys

from daypass._core.server import ServerThread
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


class Echo(ServerThread):
    """The echo service, by default on a free port of loopback. It listens from the beginning on."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        server = http.server.ThreadingHTTPServer((host, port), _EchoHandler)
        server.daemon_threads = True
        super().__init__(server, "daypass-echo")
        self.address = Address(host="127.0.0.1", port=server.server_address[1])


if __name__ == "__main__":
    ends = {signal.SIGTERM, signal.SIGINT}
    # As the first process of a container, it would ignore SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Echo(host="", port=int(sys.argv[1])):
        signal.sigwait(ends)
