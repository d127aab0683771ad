"""A way to etcd that a test can cut, as a network that fails between two machines."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.tcp_server import TcpServer, hang_up


class EtcdPath(TcpServer):
    """A way to etcd that can be cut: what is open stays open, and nothing passes."""

    def __init__(self, etcd: Path) -> None:
        super().__init__()
        # A Unix socket's path has at most 107 bytes.
        self._folder = os.open(etcd.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._etcd = f"/proc/self/fd/{self._folder}/{etcd.name}"
        self._is_open = threading.Event()
        self._is_open.set()

    def serve(self, connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as etcd:
            etcd.connect(self._etcd)
            connection.settimeout(None)
            back = threading.Thread(target=self._pass_on, args=(etcd, connection), daemon=True)
            back.start()
            self._pass_on(connection, etcd)
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
        os.close(self._folder)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._is_open.wait()
                target.sendall(data)
        hang_up(source)
        hang_up(target)
