"""Waiting until the cluster has done something: one loop, and one form of message for a timeout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from daypass._core.clock import Backoff, format_duration
from daypass._core.errors import DaypassError
from daypass.kube.cluster import Cluster

POLL = Backoff(first_seconds=0.01, longest_seconds=1.0)

T = TypeVar("T")


class NotReadyError(DaypassError):
    """What was waited for is not there yet."""

    heals_by_itself = True


def timed_out(what: str, seconds: float, missing: str) -> str:
    """Return what was waited for, for how long, and what is still missing."""
    return f"waited {format_duration(int(seconds))} for {what}: {missing}"


class Waiter:
    """Waits until a deadline, by the cluster's clock; `show` gets what is waited for."""

    def __init__(
        self, cluster: Cluster, seconds: float, show: Callable[[str], object] = lambda text: None
    ) -> None:
        self.cluster = cluster
        self.show = show
        self._ends = cluster.clock.monotonic() + seconds
        self._seconds = seconds

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self._ends - self.cluster.clock.monotonic())

    def wait(self, what: str, check: Callable[[], T | str], hint: str) -> T:
        """Return the first result that is not a string: a string says what is missing.

        Shows each new string. Raises NotReadyError with the last one and `hint` after the deadline.
        """
        shown, polls = "", 0
        while isinstance(result := check(), str):
            if result != shown:
                self.show(f"{what}: {result}")
                shown = result
            if not self.left():
                raise NotReadyError(timed_out(what, self._seconds, result), hint)
            polls += 1
            self.cluster.sleep(POLL.seconds(polls))
        return result
