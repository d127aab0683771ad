"""Requests that go on while a test changes something."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from daypass._core.secret import Secret
from support import raw
from support.raw import Reconnecting


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Requests with one token, one after another, on a connection that is open as long as the other
    side keeps it. `codes`: how often each was answered; `history`: each that was another one than
    the last.
    """

    connect: Callable[[], ssl.SSLSocket]
    host: str
    token: Secret
    path: str = "/"
    codes: Counter[int] = field(default_factory=Counter)
    last: int = 0
    history: list[int] = field(default_factory=list)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._flow, args=[stop], daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _flow(self, stop: threading.Event) -> None:
        with closing(Reconnecting(self.connect)) as caller:
            request = raw.get(raw.bearer(self.token), host=self.host, path=self.path)
            while not stop.wait(0.02):
                self.last = caller.ask(request).code
                self.codes[self.last] += 1
                if self.history[-1:] != [self.last]:
                    self.history.append(self.last)
