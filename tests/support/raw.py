"""Requests over TLS byte for byte, for what no HTTP library would send."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daypass._core.secret import Secret
from support.deadline import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP/1.1 answer; `code` 0 where the connection ended without one.

    `cookies`: each Set-Cookie header, of which `headers` has the last.
    """

    code: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the connection ends after it."""
        return self.code == 0 or self.headers.get("connection") == "close"


def connect(
    port: int,
    *,
    authority_pem: str,
    name: str,
    alpn: str = "http/1.1",
    host: str = "127.0.0.1",
    source: str | None = None,
) -> ssl.SSLSocket:
    """A TLS connection to loopback that asks for `name` and verifies it. `source`: its address."""
    context = _context(authority_pem, alpn)
    from_ = None if source is None else (source, 0)
    plain = socket.create_connection((host, port), timeout=20, source_address=from_)
    # Without it the last of the handshake and the request wait for each other's acknowledgement.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


@functools.lru_cache(maxsize=64)
def _context(authority_pem: str, alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority_pem)  # noqa: TID251 - a test's own client
    context.set_alpn_protocols([alpn])
    return context


class Conversation:
    """A connection on which requests are sent as they are, and answers read one by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self._connection.sendall(data)

    def answer(self, *, head: bool = False) -> Answer:
        """The next final answer. `head`: it has no body, whatever its length says."""
        while (parsed := _parse_answer(self._received, head=head)) is None:
            try:
                data = self._connection.recv(65536)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                return Answer(code=0, headers={}, body=b"")
            self._received += data
        answer, end = parsed
        self._received = self._received[end:]
        return answer

    def pending(self) -> list[Answer]:
        """The answers that have arrived already and were not read yet."""
        self._connection.setblocking(False)
        answers = []
        while (answer := self.answer()).code:
            answers.append(answer)
        return answers


class Reconnecting:
    """Asks on one connection for as long as the other side keeps it, and then on another one."""

    def __init__(self, connect: Callable[[], ssl.SSLSocket]) -> None:
        self._connect = connect
        self._open = contextlib.ExitStack()
        self._conversation: Conversation | None = None

    def ask(self, request: bytes) -> Answer:
        if self._conversation is None:
            self._conversation = Conversation(self._open.enter_context(self._connect()))
        self._conversation.send(request)
        answer = self._conversation.answer(head=request.startswith(b"HEAD "))
        if answer.closes:
            self.close()
        return answer

    def close(self) -> None:
        self._open.close()
        self._conversation = None


class Caller:
    """Sends GETs with one token on one connection, which stays open."""

    def __init__(self, conversation: Conversation, host: str, token: Secret, *lines: str) -> None:
        self._conversation = conversation
        self._host = host
        self._lines = lines
        self.token = token

    def ask(self, token: Secret | None = None) -> Answer:
        """What the gate answers. `token`: another one than its own."""
        request = get(bearer(token or self.token), *self._lines, host=self._host)
        self._conversation.send(request)
        return self._conversation.answer()

    def becomes(self, code: int, *, never: int | None = None) -> Answer:
        """The first answer with this code. Fails if one before it has the code `never`."""
        before: set[int] = set()

        def wanted() -> Answer | None:
            answer = self.ask()
            if answer.code == code:
                return answer
            before.add(answer.code)
            return None

        answer = eventually(f"a {code}", wanted)
        assert never not in before, before
        return answer


def get(*lines: str, host: str, path: str = "/") -> bytes:
    """A GET with these header lines."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def bearer(token: Secret) -> str:
    """The header line that carries a token."""
    return f"Authorization: Bearer {token.reveal()}"


def exchange(connection: ssl.SSLSocket, request: bytes, *, head: bool = False) -> Answer:
    conversation = Conversation(connection)
    conversation.send(request)
    return conversation.answer(head=head)


def _parse_answer(data: bytes, *, head: bool, start: int = 0) -> tuple[Answer, int] | None:
    """The first final answer and where it ends; None while it is incomplete."""
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        return None
    status, *lines = data[start:end].decode("latin-1").split("\r\n")
    end += 4
    code = int(status.split(" ")[1])
    if 100 <= code < 200:
        return _parse_answer(data, head=head, start=end)
    parts = (line.partition(":") for line in lines)
    pairs = [(name.lower(), value.strip()) for name, _, value in parts]
    headers = dict(pairs)
    cookies = tuple(value for name, value in pairs if name == "set-cookie")
    if head:
        body = b""
    elif headers.get("transfer-encoding") == "chunked":
        parsed = _parse_chunks(data, end)
        if parsed is None:
            return None
        body, end = parsed
    else:
        length = int(headers.get("content-length", "0"))
        body, end = data[end : end + length], end + length
        if len(body) < length:
            return None
    return Answer(code=code, headers=headers, body=body, cookies=cookies), end


def _parse_chunks(data: bytes, start: int) -> tuple[bytes, int] | None:
    body = b""
    while (line_end := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:line_end], 16)
        start = line_end + 2 + size + 2
        if len(data) < start:
            return None
        if size == 0:
            return body, start
        body += data[line_end + 2 : line_end + 2 + size]
    return None
