"""A small HTTPS service that records its requests byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from support.authority import Certificate
from support.http_services import Handler, serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request. Header names are in lower case. `authorizations`: all of that name."""

    method: str
    path: str
    headers: dict[str, str]
    authorizations: list[str]
    body: bytes

    @property
    def token(self) -> str | None:
        """The bearer token."""
        value = self.headers.get("authorization", "")
        return value.removeprefix("Bearer ") if value.startswith("Bearer ") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer."""

    code: int = 200
    location: str = ""


class Service:
    """What the service was asked, and how it answers. `origin`: where it is.

    `answer` decides what to say, and is a test's to set. `drops`: where it closes the connection
    instead, in the middle of the "request" or of the "response".
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], Said] = lambda _: Said()
        self.drops = ""

    @property
    def tokens(self) -> list[str | None]:
        """The tokens of all requests, in order."""
        return [seen.token for seen in self.seen]

    def refuse_the_first_token(self) -> None:
        """Say 401 to the token that comes first, and to requests without one."""
        self.answer = lambda seen: (
            Said(code=401) if seen.token in (None, self.tokens[0]) else Said()
        )


@contextmanager
def running_service(certificate: Certificate | None) -> Iterator[Service]:
    """A service on a free port, with TLS if there is a certificate."""

    class Answering(Handler):
        def _answer(self) -> None:
            drops = service.drops == "request"
            body = self.rfile.read(9) if drops else self.content()
            seen = Seen(
                method=self.command,
                path=self.path,
                headers=self.fields(),
                authorizations=self.headers.get_all("authorization", []),
                body=body,
            )
            service.seen.append(seen)
            if service.drops:
                self.close_connection = True
            if drops:
                return
            said = service.answer(seen)
            more = {"location": said.location} if said.location else {}
            if service.drops:
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")
                return
            self.answer(said.code, "ok", **more)

        def content(self) -> bytes:
            if self.headers.get("transfer-encoding", "") != "chunked":
                return super().content()
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = _answer

    context = None if certificate is None else certificate.context()
    with serving(Answering, context=context) as port:
        service = Service(f"{'http' if certificate is None else 'https'}://localhost:{port}")
        yield service
