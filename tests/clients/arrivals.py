"""What arrives at a real server behind the gate, seen on the way there."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from support.relays import Relay

REQUEST = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)*)\r\n"
)
LONGEST_HEAD = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def user(self) -> str | None:
        """Who sent it, as the gate says."""
        return self.headers.get("kubeflow-userid")

    @property
    def is_websocket(self) -> bool:
        """Whether it opens one."""
        return self.headers.get("upgrade") == "websocket"


class Arrivals(Relay):
    """A way to a server, which records the requests that are HTTP/1.1."""

    def __init__(self, server: str) -> None:
        """`server`: its URL, on a port of 127.0.0.1 (`http://127.0.0.1:8080`)."""
        super().__init__()
        address = urlsplit(server)
        self.url = f"{address.scheme}://127.0.0.1:{self.port}"
        self._server_port = address.port
        self._heard: dict[socket.socket, bytes] = {}
        self.requests: list[Arrival] = []

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._server_port or 80))

    def sent(self, connection: socket.socket, data: bytes) -> None:
        with self._lock:
            heard, end = self._heard.get(connection, b"") + data, 0
            for found in REQUEST.finditer(heard):
                self.requests.append(_parse(*found.groups()))
                end = found.end()
            self._heard[connection] = heard[end:][-LONGEST_HEAD:]


def _parse(method: bytes, path: bytes, head: bytes) -> Arrival:
    pairs = (line.partition(":") for line in head.decode("latin-1").splitlines())
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Arrival(method=method.decode(), path=path.decode(), headers=headers)
