"""A value that is fetched again and again in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from daypass._core.errors import DaypassError

T = TypeVar("T")


class Poller(Generic[T]):
    """Calls `fetch` every `every_seconds` on a thread of its own, from `start` to `stop`.

    `latest`: the last value. `last_error`: why the last call failed, or "".
    """

    def __init__(self, fetch: Callable[[], T], every_seconds: float) -> None:
        self.latest: T | None = None
        self.last_error = ""
        self._fetch = fetch
        self._every_seconds = every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Fetch once on this thread, and then in the background."""
        self.fetch()
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting for a fetch in progress."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            self.fetch()

    def fetch(self) -> None:
        """Fetch once on this thread. An error is kept in `last_error`."""
        try:
            self.latest = self._fetch()
            self.last_error = ""
        except DaypassError as error:
            self.last_error = str(error)
