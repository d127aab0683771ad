"""What responds where an authorizer should be, and is none."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from support.tcp_server import TcpServer
from support.tokens import USER

NAMED = f"kubeflow-userid: {USER}\r\nkubeflow-groups: system:authenticated\r\n".encode()
EVIL = (
    b"location: https://evil.example.com/\r\nset-cookie: evil=1\r\nx-evil: 1\r\n"
    b"authorization: Bearer evil\r\nhost: evil.example.com\r\nx-forwarded-for: 6.6.6.6\r\n"
    b"content-type: text/html\r\nwww-authenticate: Basic evil\r\nretry-after: 86400\r\n"
)
Behaviour = bytes | Callable[[socket.socket], None]


def response(headers: bytes, *, code: bytes = b"200", body: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %b X\r\n%bcontent-length: %d\r\n\r\n" % (code, headers, len(body))
    return head + body


ODD_USERS = {
    "no": b"", "an empty": b"kubeflow-userid: \r\n", "another": b"kubeflow-userid: admin\r\n",
    "a user and another": NAMED + b"kubeflow-userid: evil\r\n",
    "an underscored": f"kubeflow_userid: {USER}\r\n".encode(),
    "a list as": f"kubeflow-userid: {USER}, evil\r\n".encode(),
    "a CR in": f"kubeflow-userid: {USER}\rx-evil: 1\r\n".encode(),
    "a LF in": b"kubeflow-userid: evil\nkubeflow-groups: evil\r\n",
    "a NUL in": f"kubeflow-userid: {USER}\0\r\n".encode(),
    "a folded": f"kubeflow-userid: {USER}\r\n evil\r\n".encode(),
    "Latin-1 in": f"kubeflow-userid: {USER}\xe9\r\n".encode("latin-1"),
    "a removed": NAMED + b"x-envoy-auth-headers-to-remove: kubeflow-userid,host,:path\r\n",
}  # fmt: skip


class HeadServer(TcpServer):
    """Calls `respond` for each head of a request without a body."""

    def serve(self, connection: socket.socket) -> None:
        received = b""
        while data := connection.recv(65536):
            received += data
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                self.respond(connection, head)

    def respond(self, connection: socket.socket, head: bytes) -> None:
        raise NotImplementedError


class Impostor(HeadServer):
    """`behaviour`: what it sends to each request, or does. `asked`: the heads of these."""

    behaviour: Behaviour = b""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.asked: list[str] = []

    def respond(self, connection: socket.socket, head: bytes) -> None:
        self.asked.append(head.decode("latin-1"))
        if isinstance(self.behaviour, bytes):
            connection.sendall(self.behaviour)
        else:
            self.behaviour(connection)
