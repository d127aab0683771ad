"""A service whose responses never end: events without an end, and WebSockets."""

from __future__ import annotations

import socket
import threading

from support.tcp_server import TcpServer

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
)
"""Header lines that open a WebSocket."""
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
EVENT = b"data: 1\n\n"
_EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + f"{len(EVENT):x}\r\n".encode()
    + EVENT
    + b"\r\n"
)


class Endless(TcpServer):
    """Begins a response for each request, or none for /silent, and counts those whose client is
    gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Semaphore(0)

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(65536)):
                return
            head += data
        if b"upgrade: websocket" in head.lower():
            connection.sendall(SWITCHED)
        elif not head.startswith(b"GET /silent "):
            connection.sendall(_EVENTS)
        while connection.recv(65536):
            pass
        self.ended.release()
