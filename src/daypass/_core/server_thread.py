"""A server of `socketserver` on a thread of its own."""

from __future__ import annotations

import threading
from socketserver import BaseServer
from typing import Self

POLL_SECONDS = 0.2
"""How long a stop may take."""


class ServerThread:
    """Runs a server, which listens already, from `start` to `stop`, or inside a `with` block."""

    def __init__(self, server: BaseServer, name: str) -> None:
        self._running = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=[POLL_SECONDS], name=name, daemon=True
        )

    def start(self) -> None:
        """Answer requests in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and listen no more."""
        self._running.shutdown()
        self._running.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
