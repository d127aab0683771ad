"""An HTTPS server that takes no body (415) and keeps what it was sent."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType

from support.authority import Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One request as it came."""

    line: str
    content_type: str | None
    body: bytes


class Refuser:
    """Serves on loopback while its `with` lasts; `authority` is the file to trust it by."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        certificate = authority.server("127.0.0.1")
        self.authority = folder / "refuser-ca.crt"
        self.authority.write_text(authority.pem)
        chain, key = folder / "refuser.crt", folder / "refuser.key"
        chain.write_text(certificate.certificate_pem)
        key.write_text(certificate.key_pem)
        self.refused: list[Refused] = []
        self._server = HTTPServer(("127.0.0.1", 0), _handler(self.refused))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Refuser:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(refused: list[Refused]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._refuse()

        def do_POST(self) -> None:
            self._refuse()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Not on the test's output."""

        def _refuse(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            refused.append(
                Refused(
                    line=self.requestline,
                    content_type=self.headers.get("Content-Type"),
                    body=self.rfile.read(length),
                )
            )
            self.send_response(415)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
