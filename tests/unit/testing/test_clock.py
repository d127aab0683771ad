"""The clock that tests can move."""

from __future__ import annotations

from daypass._core.clock import Clock
from daypass.testing import MovableClock


class Still:
    """A stopped clock."""

    def unix(self) -> float:
        return 1_000_000.0

    def monotonic(self) -> float:
        return 50.0


def test_an_unmoved_clock_shows_the_machines_time() -> None:
    clock: Clock = MovableClock(Still())
    assert (clock.unix(), clock.monotonic()) == (1_000_000.0, 50.0)


def test_moving_the_clock_advances_both_times() -> None:
    clock = MovableClock(Still())
    clock.move(3600)
    clock.move(1)
    assert (clock.unix(), clock.monotonic()) == (1_003_601.0, 3651.0)
    assert clock.ahead_seconds == 3601


def test_monotonic_time_never_goes_back() -> None:
    clock = MovableClock(Still())
    clock.move(10)
    clock.move(-100)
    assert (clock.unix(), clock.monotonic()) == (999_910.0, 60.0)
    clock.reset()
    assert (clock.unix(), clock.monotonic()) == (1_000_000.0, 60.0)
