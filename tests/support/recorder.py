"""A TLS upstream that stands where the API server would and keeps every byte it is sent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.authority import Authority, Certificate
from support.recorder_exact import faults
from support.tcp_server import TcpServer

ANSWER_BODY = b'{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1"}'
ANSWER = (
    b'HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nwarning: 299 - "seen"\r\n'
    b"content-length: %d\r\n\r\n" % len(ANSWER_BODY)
) + ANSWER_BODY
UPSTREAM_NAME = "kubernetes.default.svc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request as it arrived: its bytes, and what they say when read as HTTP/1.1."""

    raw: bytes
    malformed: str = ""

    @property
    def request_line(self) -> str:
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.raw.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
        pairs = (line.decode("latin-1").partition(":") for line in lines)
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    def header(self, name: str) -> str | None:
        """A header's only value, or None."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} arrived {len(values)} times"
        return values[0] if values else None

    def faults(self, *, host: str = UPSTREAM_NAME) -> list[str]:
        """What makes it anything but an exact TokenRequest."""
        return [self.malformed] if self.malformed else list(faults(self.raw, host=host))


Behaviour = Callable[[ssl.SSLSocket, Recorded], None]


class Recorder(TcpServer):
    """The upstream. Speaks HTTP/1.1, the form in which two parsers disagree most easily.

    `behave` is what it does once it has a request; at first it sends ANSWER. `client_certificates`
    counts the connections on which it was shown one: it asks for them, and takes none as well.
    """

    protocol = "http/1.1"

    def __init__(self, authority: Authority, folder: Path, names: tuple[str, ...]) -> None:
        self._folder = folder
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=authority.pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols([self.protocol])
        super().__init__(context)
        self._tls = context
        self.show(authority.server(*names))
        self.behave: Behaviour = answer_with(ANSWER)
        self.total = 0
        self.client_certificates = 0
        self._recorded: list[Recorded] = []

    def show(self, certificate: Certificate) -> None:
        """Show new connections another certificate."""
        (self._folder / "recorder.crt").write_text(certificate.certificate_pem)
        (self._folder / "recorder.key").write_text(certificate.key_pem)
        self._tls.load_cert_chain(self._folder / "recorder.crt", self._folder / "recorder.key")

    def take(self) -> list[Recorded]:
        with self._lock:
            recorded, self._recorded = self._recorded, []
        return recorded

    def keep(self, recorded: Recorded) -> None:
        with self._lock:
            self._recorded.append(recorded)
            self.total += 1

    def serve(self, connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        with self._lock:
            self.client_certificates += bool(connection.getpeercert(binary_form=True))
        self.read(connection)

    def read(self, connection: ssl.SSLSocket) -> None:
        with connection.makefile("rb") as stream:
            while (recorded := _read_request(stream)) is not None:
                self.keep(recorded)
                if recorded.malformed:
                    return
                self.behave(connection, recorded)


def answer_with(answer: bytes) -> Behaviour:
    return lambda connection, _: connection.sendall(answer)


def hang_up(connection: ssl.SSLSocket, recorded: Recorded) -> None:
    """The behaviour of ending the connection without an answer."""
    raise ConnectionAbortedError


def _read_request(stream: IO[bytes]) -> Recorded | None:
    """One request, framed by the strict reading of RFC 9112; what it forbids is malformed."""
    raw = b""
    while (line := stream.readline(65536)) not in (b"\r\n", b""):
        raw += line
    if not raw:
        return None
    raw += line
    lines = raw.lower().split(b"\r\n")
    if not line or any(line.startswith(b"transfer-encoding") for line in lines):
        return Recorded(raw=raw, malformed=f"framing by something else than a length: {raw!r}")
    lengths = [line.partition(b":")[2].strip() for line in lines if line.startswith(b"content-len")]
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        return Recorded(raw=raw, malformed=f"lengths {lengths}")
    return Recorded(raw=raw + stream.read(int(lengths[0]) if lengths else 0))
