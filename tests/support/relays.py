"""TCP relays in the middle: a way to etcd that can be cut, and a balancer before API servers."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from support.tcp_server import TcpServer, hang_up


class Relay(TcpServer):
    """Passes on what it gets, both ways, and can be cut: what is open stays open, and nothing
    passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_open = threading.Event()
        self._is_open.set()

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

    @contextmanager
    def cut(self) -> Iterator[None]:
        self._is_open.clear()
        try:
            yield
        finally:
            self._is_open.set()

    def __exit__(self, *error: object) -> None:
        self._is_open.set()
        super().__exit__(*error)

    def _pass_on(
        self, source: socket.socket, target: socket.socket,
        sent: Callable[[bytes], None] = lambda data: None,
    ) -> None:  # fmt: skip
        with suppress(OSError):
            while data := source.recv(65536):
                self._is_open.wait()
                sent(data)
                target.sendall(data)
        hang_up(source)
        hang_up(target)


class EtcdPath(Relay):
    """A way to etcd."""

    def __init__(self, etcd: Path) -> None:
        super().__init__()
        # A Unix socket's path has at most 107 bytes.
        self._folder = os.open(etcd.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._etcd = f"/proc/self/fd/{self._folder}/{etcd.name}"

    def dial(self) -> socket.socket:
        etcd = socket.socket(socket.AF_UNIX)
        etcd.connect(self._etcd)
        return etcd

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        os.close(self._folder)


class Balancer(Relay):
    """Leads each connection to the next of some ports of 127.0.0.1 where a server listens."""

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self._ports = itertools.cycle(ports)
        self._count = len(ports)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def dial(self) -> socket.socket:
        for port in itertools.islice(self._ports, self._count):
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", port))
        raise ConnectionRefusedError
