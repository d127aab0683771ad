"""TCP relays in the middle."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from support.tcp_server import TcpServer, hang_up


class Relay(TcpServer):
    """Passes on what it gets, both ways."""

    def dial(self) -> socket.socket:
        """Connect to the other side."""
        raise NotImplementedError

    def sent(self, connection: socket.socket, data: bytes) -> None:
        """What a client has sent, before it is passed on."""

    def serve(self, connection: socket.socket) -> None:
        with self.dial() as other:
            connection.settimeout(None)
            back = threading.Thread(target=self._pass_on, args=(other, connection), daemon=True)
            back.start()
            self._pass_on(connection, other, partial(self.sent, connection))
            back.join()

    def _pass_on(
        self, source: socket.socket, target: socket.socket,
        sent: Callable[[bytes], None] = lambda data: None,
    ) -> None:  # fmt: skip
        with suppress(OSError):
            while data := source.recv(65536):
                sent(data)
                target.sendall(data)
        hang_up(source)
        hang_up(target)
