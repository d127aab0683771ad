"""The clock that a test moves."""

from __future__ import annotations

from daypass._core.clock import Clock
from daypass.testing import MovableClock


class Still:
    """A clock that stands."""

    def unix(self) -> float:
        return 1_000_000.0

    def monotonic(self) -> float:
        return 50.0


def test_it_shows_the_machines_time_until_it_is_moved() -> None:
    clock: Clock = MovableClock(Still())
    assert (clock.unix(), clock.monotonic()) == (1_000_000.0, 50.0)


def test_moved_ahead_as_much_time_has_passed() -> None:
    clock = MovableClock(Still())
    clock.move(3600)
    clock.move(1)
    assert (clock.unix(), clock.monotonic()) == (1_003_601.0, 3651.0)
    assert clock.ahead_seconds == 3601


def test_intervals_never_go_back() -> None:
    clock = MovableClock(Still())
    clock.move(10)
    clock.move(-100)
    assert (clock.unix(), clock.monotonic()) == (999_910.0, 60.0)
    clock.reset()
    assert (clock.unix(), clock.monotonic()) == (1_000_000.0, 60.0)
