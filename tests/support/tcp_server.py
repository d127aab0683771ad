"""TCP servers of the tests' own, byte for byte, on a free port of 127.0.0.1."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class TcpServer:
    """Serves each connection on a thread of its own, from `with` to the end of the block.

    `context`: for TLS; None for none. `port` is known from the start.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._has_ended = False
        self._threads: list[threading.Thread] = []

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, which is closed afterwards; an OSError or ValueError ends it too."""
        raise NotImplementedError

    def drop_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            hang_up(connection)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._listener)
        self._threads[0].join()
        self._listener.close()
        with self._lock:
            self._has_ended = True
        self.drop_connections()
        for thread in self._threads:
            thread.join()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._handle, connection)

    def _handle(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, ValueError):  # the client may go away at any time
            if self.context is not None:
                connection = self.context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            with self._lock:
                if self._has_ended:  # nobody would drop it
                    raise ConnectionAbortedError
                self._open.add(connection)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self.serve(connection)
        with self._lock:
            self._open.discard(connection)
        connection.close()


def hang_up(connection: socket.socket) -> None:
    """End a connection, or make a listener's accept return."""
    # The socket below the TLS: a thread may be reading, and only it may touch the TLS state.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
