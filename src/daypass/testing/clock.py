"""A clock that a test moves."""

from daypass._core.clock import SYSTEM_CLOCK, Clock


class MovableClock:
    """The machine's clock, moved by as much as a test wants. It goes on as the machine's does.

    In a stack only the embedded API server uses it; Envoy and clients use the machine's own.
    """

    def __init__(self, base: Clock = SYSTEM_CLOCK) -> None:
        self._base = base
        self._ahead = 0.0
        self._passed = 0.0

    @property
    def ahead_seconds(self) -> float:
        """How far it is ahead of the machine's clock; negative: behind."""
        return self._ahead

    def move(self, seconds: float) -> None:
        """Move the clock forward; negative: back."""
        self._ahead += seconds
        # Caches expire when it moves forward, and nothing is cached again when it moves back.
        self._passed += max(seconds, 0.0)

    def reset(self) -> None:
        """Return to the machine's time."""
        self._ahead = 0.0

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._base.unix() + self._ahead

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, even if it is moved back."""
        return self._base.monotonic() + self._passed
