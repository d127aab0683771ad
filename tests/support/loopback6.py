"""IPv6 on this machine's loopback."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK6 = "::1"


def need_loopback6() -> None:
    """Raises RuntimeError where this machine has no ::1: nothing of it could be shown there."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK6, 0))
    except OSError as error:
        raise RuntimeError(
            f"this machine has no {LOOPBACK6} ({error.strerror}), which this test needs: "
            "sysctl -w net.ipv6.conf.lo.disable_ipv6=0"
        ) from None


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers.get("kubeflow-userid", "").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        pass


@contextmanager
def who_calls() -> Iterator[str]:
    """A service on ::1 that answers with who calls; its URL."""
    with _Server((LOOPBACK6, 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://[{LOOPBACK6}]:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
