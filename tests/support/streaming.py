"""A service behind a gate whose answers stay open: it sends back what a request's body brings."""

from __future__ import annotations

import socket

from support.tcp_server import TcpServer


class StreamingService(TcpServer):
    """Answers a head at once, and gives back each byte of a body in chunks as it comes.

    `heads`: of the requests that arrived.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []

    def serve(self, connection: socket.socket) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                if not (data := connection.recv(65536)):
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            if b"chunked" not in head.lower():
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            # A chunked body, sent back as it stands, is a chunked body.
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            ended = False
            while not ended:
                connection.sendall(received)
                ended = received.endswith(b"0\r\n\r\n")
                if not ended and not (received := connection.recv(65536)):
                    return
            received = b""
