"""A clock that a test moves."""

from daypass._core.clock import SYSTEM_CLOCK, Clock


class MovableClock:
    """The machine's clock, ahead of it or behind it by as much as a test says.

    It goes on by itself, as the machine's does. In a stack only the embedded API server goes by
    it; Envoy, and every client, have the machine's own.
    """

    def __init__(self, base: Clock = SYSTEM_CLOCK) -> None:
        self._base = base
        self._ahead = 0.0
        self._passed = 0.0

    @property
    def ahead_seconds(self) -> float:
        """How far it is ahead of the machine's; below zero: behind."""
        return self._ahead

    def move(self, seconds: float) -> None:
        """Let this much time pass at once; below zero: go back."""
        self._ahead += seconds
        # What was remembered for ten seconds is forgotten after them, but never remembered anew.
        self._passed += max(seconds, 0.0)

    def reset(self) -> None:
        """Show the machine's time again."""
        self._ahead = 0.0

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._base.unix() + self._ahead

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, also when it is moved back."""
        return self._base.monotonic() + self._passed
