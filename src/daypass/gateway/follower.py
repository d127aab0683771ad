"""Something fetched again and again beside the main loop, which picks it up when it looks."""

import threading
from collections.abc import Callable

from daypass._core.errors import DaypassError


class Follower:
    """Calls `fetch` every `every_seconds` on a thread of its own until `stop`.

    `latest`: the last value that was fetched. `trouble`: why the last fetch failed, or "".
    """

    def __init__(self, fetch: Callable[[], str], every_seconds: float) -> None:
        self.latest: str | None = None
        self.trouble = ""
        self._fetch = fetch
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Fetch once, here and now, and then beside."""
        self.fetch()
        self._thread.start()

    def stop(self) -> None:
        """End it; a fetch that is under way is not waited for."""
        self._ended.set()

    def _follow(self) -> None:
        while not self._ended.wait(self._every_seconds):
            self.fetch()

    def fetch(self) -> None:
        """Fetch once, here and now."""
        try:
            self.latest = self._fetch()
            self.trouble = ""
        except DaypassError as error:
            self.trouble = str(error)
