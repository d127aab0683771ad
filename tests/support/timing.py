"""Time that passes only when a test says so."""

from __future__ import annotations

from collections.abc import Callable

from daypass.client.transport import SYSTEM_TIMING, Timing

NOON = 1_800_000_000.0
"""2027-01-15T08:00:00Z, a moment as good as any."""


class FakeClock:
    """A clock to be set. `monotonic` moves on by `step_seconds` whenever it is read."""

    def __init__(self, unix: float = NOON, step_seconds: float = 0.0) -> None:
        self.now_unix = unix
        self.now_monotonic = 1000.0
        self.step_seconds = step_seconds

    def unix(self) -> float:
        return self.now_unix

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward."""
        self.now_monotonic += self.step_seconds
        return self.now_monotonic

    def advance(self, seconds: float) -> None:
        self.now_unix += seconds
        self.now_monotonic += seconds


class FakeTiming(Timing):
    """A Timing whose waits take no time, are remembered in `waits`, and move the clock on.

    A refresh is put into `begun`, and carried out when a test calls `do_begun`; other threads are
    started. `jitter_value` can be changed.
    """

    def __init__(
        self, clock: FakeClock | None = None, *, jitter: float = 0.0, exchange_seconds: float = 30.0
    ) -> None:
        self.fake_clock = clock or FakeClock()
        self.waits: list[float] = []
        self.begun: list[Callable[[], None]] = []
        self.jitter_value = jitter
        super().__init__(
            clock=self.fake_clock,
            sleep=self._wait,
            jitter=lambda: self.jitter_value,
            start=self._start,
            exchange_seconds=exchange_seconds,
        )

    def do_begun(self) -> None:
        """Do what was begun in the background, here and now."""
        while self.begun:
            self.begun.pop(0)()

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.fake_clock.advance(seconds)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        if name == "daypass-refresh":
            self.begun.append(work)
        else:
            SYSTEM_TIMING.start(name, work)
