"""An HTTP/1.1 request as bytes, and a response parsed from bytes (RFC 9112). No I/O.

The parser gets what arrives in pieces of any size, and returns the same response or raises the
same error for the same bytes. It is strict where parsers disagree: lines end in CRLF, nothing is
folded, lengths are stated once, and everything has a limit.
"""

from __future__ import annotations

from daypass._core import VERSION
from daypass._core.record import Record
from daypass._core.secret import redact, redact_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass._core.secret import Secret


USER_AGENT = f"daypass/{VERSION}"
HEAD_LIMIT_BYTES = 32 * 1024
"""Of status lines and headers, including interim responses and trailers."""
RESPONSE_LIMIT_BYTES = 1024 * 1024
HEADERS_LIMIT = 128

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONTROLS = bytes(c for c in (*range(0x20), 0x7F) if c != 0x09)
_NO_BODY = (204, 304)


class MalformedResponseError(Exception):
    """The response is not valid HTTP/1.1, or is too large. The message quotes nothing of it."""


class TruncatedResponseError(Exception):
    """The connection was closed before the response was complete."""


class HttpRequest(Record):
    """A request to be sent on a connection of its own."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def encode(self) -> bytes:
        """Return the request as bytes; raises ValueError for a character that would end a line."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise ValueError("a request line or header contains a character that is not allowed")
        return "\r\n".join((*lines, "", "")).encode("ascii") + self.body


class HttpResponse(Record):
    """A complete response. Header names are in lower case, in their original order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def without(self, *secrets: Secret) -> HttpResponse:
        """Return the response with secrets removed from headers and body (`_core.secret`)."""
        return HttpResponse(
            status=self.status,
            headers=tuple((name, redact(value, *secrets)) for name, value in self.headers),
            body=redact_response(self.body, *secrets),
        )

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")


def read_response(
    receive: Callable[[], bytes], *, to_connect: bool = False
) -> tuple[HttpResponse, bytes]:
    """Return a response, and what has arrived after it.

    `receive` returns the next bytes; none: the connection was closed. `to_connect`: the request was
    a CONNECT, so a 2xx has no body. Raises MalformedResponseError, TruncatedResponseError, and what
    `receive` raises.
    """
    reader, status = _ResponseReader(receive), 100
    headers: tuple[tuple[str, str], ...] = ()
    while status < 200:
        status, headers = _status(reader.line()), reader.headers()
        if status == 101:
            raise MalformedResponseError("it switches to another protocol")
    lengths = [value for name, value in headers if name == "content-length"]
    codings = [value for name, value in headers if name == "transfer-encoding"]
    if lengths and codings:
        raise MalformedResponseError("it states its length in two ways")
    if status in _NO_BODY or (to_connect and status < 300):
        body = b""
    elif codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise MalformedResponseError("it uses a transfer coding that was not requested")
        body = reader.chunks()
    else:
        body = reader.take(_length(lengths)) if lengths else reader.rest()
    return HttpResponse(status=status, headers=headers, body=body), bytes(reader.buffer)


class _ResponseReader:
    """The parts of a response, in the order in which they are read."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self.buffer = bytearray()
        self._receive = receive
        self._head_left = HEAD_LIMIT_BYTES

    def _wait(self) -> None:
        data = self._receive()
        if not data:
            raise TruncatedResponseError
        self.buffer += data

    def line(self) -> bytes:
        seen = 0
        while (end := self.buffer.find(b"\n", seen)) < 0:
            seen = len(self.buffer)
            if seen > self._head_left:
                raise MalformedResponseError("its head is too long")
            self._wait()
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        self._head_left -= len(line)
        if self._head_left < 0:
            raise MalformedResponseError("its head is too long")
        if not line.endswith(b"\r\n") or len(line.translate(None, _CONTROLS)) != len(line) - 2:
            raise MalformedResponseError("a line holds a control character")
        return line[:-2]

    def headers(self) -> tuple[tuple[str, str], ...]:
        headers: list[tuple[str, str]] = []
        while line := self.line():
            if len(headers) == HEADERS_LIMIT:
                raise MalformedResponseError("it has too many headers")
            name, colon, value = line.partition(b":")
            if not colon or not name or name.translate(None, _TOKEN):
                raise MalformedResponseError("a header has no name")
            headers.append((name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")))
        return tuple(headers)

    def take(self, count: int) -> bytes:
        if count > RESPONSE_LIMIT_BYTES:
            raise MalformedResponseError("its body is too long")
        while len(self.buffer) < count:
            self._wait()
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def rest(self) -> bytes:
        """Return everything until the connection is closed."""
        while len(self.buffer) <= RESPONSE_LIMIT_BYTES:
            data = self._receive()
            if not data:
                rest, self.buffer = bytes(self.buffer), bytearray()
                return rest
            self.buffer += data
        raise MalformedResponseError("its body is too long")

    def chunks(self) -> bytes:
        body = bytearray()
        while size := _chunk_size(self.line()):
            if len(body) + size > RESPONSE_LIMIT_BYTES:
                raise MalformedResponseError("its body is too long")
            body += self.take(size)
            if self.take(2) != b"\r\n":
                raise MalformedResponseError("a chunk does not end where it should")
        self.headers()
        return bytes(body)


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code, space, _ = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or (rest != code and not space):
        raise MalformedResponseError("it is not HTTP/1.1")
    if len(code) != 3 or not code.isdigit() or not 100 <= int(code) <= 599:
        raise MalformedResponseError("it has no status code")
    return int(code)


def _length(values: list[str]) -> int:
    value = values[0]
    if len(values) > 1 or not value.isascii() or not value.isdigit() or len(value) > 18:
        raise MalformedResponseError("its length is not a number")
    return int(value)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= 8 or digits.translate(None, b"0123456789abcdefABCDEF"):
        raise MalformedResponseError("the size of a chunk is not a number")
    return int(digits, 16)
