"""A tiny TLS server that answers what a test has written down, good or bad, byte for byte.

It stands where a door would, for the client's drivers: one thread a connection, port 0, the
certificates made on the spot. And a scripted proxy in front of it.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

from daypass._core.clock import utc
from support.relays import Relay
from support.tcp_server import TcpServer
from support.timing import NOON

NAMESPACE, SERVICE_ACCOUNT, SECRET = "team", "bot", "bot-daypass-0123456789abcdefghij"
AUDIENCE = "gate.example.com"
SENTINEL = "SENTINELSENTINELSENTINEL"
"""Stands in the signature of every long-lived token here: what no message may ever hold."""


def jwt(claims: dict[str, Any], signature: str = SENTINEL) -> str:
    parts = [{"alg": "RS256", "kid": "test"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts]
    return ".".join((*(part.rstrip(b"=").decode() for part in encoded), signature))


def long_lived_token(
    namespace: object = NAMESPACE,
    service_account: object = SERVICE_ACCOUNT,
    secret: object = SECRET,
) -> str:
    flat = "kubernetes.io/serviceaccount/"
    return jwt(
        {
            "iss": "kubernetes/serviceaccount",
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            flat + "namespace": namespace,
            flat + "service-account.name": service_account,
            flat + "service-account.uid": "00000000-0000-0000-0000-000000000000",
            flat + "secret.name": secret,
        }
    )


def short_lived_token(number: int = 1, signature: str = "c2hvcnQ") -> str:
    return jwt({"aud": [AUDIENCE], "jti": str(number), "kubernetes.io": {}}, signature)


def credentials_document(url: str, **changes: object) -> dict[str, object]:
    """A credentials file's JSON; a change to None leaves the key out."""
    document = {
        "type": "daypass", "version": 1, "door": url, "token": long_lived_token(),
        "audience": AUDIENCE, **changes,
    }  # fmt: skip
    return {key: value for key, value in document.items() if value is not None}


def answer(
    code: int, body: bytes | str = b"", *headers: str, content_type: str = "application/json"
) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    lines = (f"HTTP/1.1 {code} Whatever", f"Content-Type: {content_type}", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(raw)}", "", "")).encode() + raw


def status_answer(code: int, message: str, *headers: str, reason: str = "") -> bytes:
    status = {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": reason, "code": code,
    }  # fmt: skip
    return answer(code, json.dumps(status), *headers)


def token_answer(
    *headers: str,
    now: float = NOON,
    granted_seconds: int = 3600,
    date: float | None = NOON,
    number: int = 1,
    **changes: object,
) -> bytes:
    """A good answer: a token that the server grants at `now`, by its own clock."""
    document = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": granted_seconds},
        "status": {
            "token": short_lived_token(number),
            "expirationTimestamp": f"{utc(now + granted_seconds):%Y-%m-%dT%H:%M:%SZ}",
        },
        **changes,
    }
    dated = () if date is None else (f"Date: {http_date(date)}",)
    return answer(201, json.dumps(document), *dated, *headers)


def http_date(unix: float) -> str:
    return f"{utc(unix):%a, %d %b %Y %H:%M:%S GMT}"


Behaviour = Callable[[socket.socket], None]


class FakeDoor(TcpServer):
    """Answers the first connection with the first of `script`, and so on; the last one repeats.

    An entry is the bytes of an answer, or what to do with a connection whose request was read.
    `requests` holds what was asked, byte for byte. `context` None: plain http. `reads` False: it
    answers whatever the first bytes are.
    """

    def __init__(
        self, *script: bytes | Behaviour, context: ssl.SSLContext | None, reads: bool = True
    ) -> None:
        super().__init__(context)
        self._read = read_request if reads else _some
        self._script = list(script)
        self._turn = threading.Lock()
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"{'http' if self.context is None else 'https'}://127.0.0.1:{self.port}/kubernetes"

    def serve(self, connection: socket.socket) -> None:
        request = self._read(connection)
        with self._turn:
            self.requests.append(request)
            entry = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if callable(entry):
            entry(connection)
        else:
            connection.sendall(entry)
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in self.requests]


class FakeProxy(Relay):
    """An HTTP proxy: answers a CONNECT with `reply`, and if that is a 200 makes the tunnel, to
    `port` whatever host is asked for. `requests` holds the CONNECTs."""

    def __init__(self, port: int, reply: bytes = b"HTTP/1.1 200 Tunnel\r\n\r\n") -> None:
        super().__init__()
        self._target = port
        self._reply = reply
        self.requests: list[bytes] = []

    def serve(self, connection: socket.socket) -> None:
        self.requests.append(read_request(connection))
        connection.sendall(self._reply)
        if self._reply.startswith(b"HTTP/1.1 200"):
            super().serve(connection)

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._target))


def read_request(connection: socket.socket) -> bytes:
    """One request, with the body that its Content-Length announces."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += _some(connection)
    head, _, body = request.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        more = _some(connection)
        request, body = request + more, body + more
    return request


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError
    return data


def reset(connection: socket.socket) -> None:
    """End the connection with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def say_nothing(connection: socket.socket) -> None:
    """Keep the client waiting until it goes."""
    while connection.recv(65536):
        pass


def cut(data: bytes) -> Behaviour:
    """Send this and drop the connection, without the end that TLS has for it."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)

    return behave


def drip(data: bytes, again: bytes) -> Behaviour:
    """Send `data`, then `again` one byte at a time, over and over until the client goes."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        while True:
            for byte in again:
                connection.sendall(bytes([byte]))

    return behave
