"""A service behind a gate whose answers stay open: it sends back what a request's body brings."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class StreamingService:
    """`heads`: of the requests that arrived."""

    port: int
    heads: list[str] = field(default_factory=list)


@contextmanager
def streaming_service() -> Iterator[StreamingService]:
    """One on a free port of loopback. It answers a head at once, and gives back each byte of a body
    in chunks as it comes.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        service = StreamingService(port=int(server.getsockname()[1]))
        threading.Thread(target=_serve, args=(server, service), daemon=True).start()
        yield service
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, service: StreamingService) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection, service), daemon=True).start()


def _answer(connection: socket.socket, service: StreamingService) -> None:
    with connection, suppress(OSError):
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                if not (data := connection.recv(65536)):
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            service.heads.append(head.decode("latin-1"))
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
