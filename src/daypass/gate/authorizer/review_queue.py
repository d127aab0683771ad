"""A queue of reviews: one for each question, a bounded number at once, sources in turn.

`ReviewQueue` decides what is reviewed next, and which requests have waited for too long. It has no
socket and no clock.

Requests that have to wait queue by the client they come from, and the queues take turns. A client
has at most as many reviews in flight as are left for others. So a client that floods the gate with
unseen tokens, or whose reviews are slow, delays only itself. When the queue is full, the last
request of the longest line is rejected. No request waits longer than `timeout_seconds`; a later
result is used for the retry.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from daypass._core.clock import Backoff

LIMIT_IN_FLIGHT = 64
LIMIT_WAITING = 1024
TIMEOUT_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
BACKOFF = Backoff(first_seconds=0.1, longest_seconds=2.0)
LEAST_IN_FLIGHT = 4

Question = TypeVar("Question")
Waiter = TypeVar("Waiter")


@dataclass(slots=True, kw_only=True, eq=False)
class PendingReview(Generic[Question, Waiter]):
    """A question to the API server. `key` is the same for the same question, and holds no token.
    `waiters`: with the time since which each waits.
    """

    key: Hashable
    source: str
    question: Question = field(repr=False)
    waiters: deque[tuple[float, Waiter]] = field(default_factory=deque)
    is_sent: bool = False


class ReviewQueue(Generic[Question, Waiter]):
    """The reviews that wait or are in flight. Methods return the waiters to respond to now."""

    def __init__(
        self,
        *,
        limit_in_flight: int = LIMIT_IN_FLIGHT,
        limit_waiting: int = LIMIT_WAITING,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._limit_in_flight = limit_in_flight
        self._limit_waiting = limit_waiting
        self._timeout_seconds = timeout_seconds
        self._queued: dict[Hashable, PendingReview[Question, Waiter]] = {}
        self._lines: dict[str, deque[PendingReview[Question, Waiter]]] = {}
        self._in_flight_of: Counter[str] = Counter()
        self._limit_now = float(limit_in_flight)
        self._paused_until = -math.inf
        self._failures = 0
        self.in_flight = 0
        self.waiting = 0
        self.rejected = 0

    def submit(
        self, pending: PendingReview[Question, Waiter], waiter: Waiter | None, now: float
    ) -> list[Waiter]:
        """Queue a review, unless there is one of this key; return the rejected waiters.

        Without a `waiter`, the review is queued only if it can start at once.
        """
        queued = self._queued.get(pending.key)
        if queued is not None:
            if waiter is not None:
                queued.waiters.append((now, waiter))
            return []
        if waiter is None:
            if pending.source in self._lines or not self._may_send(pending.source, now):
                return []
        elif now < self._paused_until:
            self.rejected += 1
            return [waiter]
        displaced: list[Waiter] = []
        if self.waiting >= self._limit_waiting:
            line = self._lines.get(pending.source)
            longest = max(self._lines.values(), key=len)
            if (line is not None and len(line) >= len(longest)) or len(longest) <= 1:
                self.rejected += 1
                return [] if waiter is None else [waiter]
            displaced = self._leave_line(longest[-1])
            self.rejected += len(displaced)
        if waiter is not None:
            pending.waiters.append((now, waiter))
        self._queued[pending.key] = pending
        self._lines.setdefault(pending.source, deque()).append(pending)
        self.waiting += 1
        return displaced

    @property
    def allowed_in_flight(self) -> int:
        """The number of reviews that may be in flight at once."""
        return max(1, int(self._limit_now))

    def next(self, now: float) -> PendingReview[Question, Waiter] | None:
        """Return the review to send now; `answered`, `finished` or `failed` has to follow."""
        for source in self._lines:
            if self._may_send(source, now):
                break
        else:
            return None
        line = self._lines.pop(source)
        pending = line.popleft()
        if line:  # back to the end: every other line has its turn first
            self._lines[source] = line
        self.waiting -= 1
        self.in_flight += 1
        self._in_flight_of[source] += 1
        pending.is_sent = True
        return pending

    def answered(self, pending: PendingReview[Question, Waiter]) -> list[Waiter]:
        """Finish a review that the API server answered; return its waiters."""
        self._failures = 0
        self._limit_now = min(self._limit_in_flight, self._limit_now + 1 / self._limit_now)
        return self.finished(pending)

    def finished(self, pending: PendingReview[Question, Waiter]) -> list[Waiter]:
        """Finish a review that says nothing about the API server; return its waiters."""
        self.in_flight -= 1
        self._in_flight_of[pending.source] -= 1
        if not self._in_flight_of[pending.source]:
            del self._in_flight_of[pending.source]
        del self._queued[pending.key]
        return [waiter for _, waiter in pending.waiters]

    def failed(
        self,
        pending: PendingReview[Question, Waiter],
        now: float,
        retry_after_seconds: float | None,
    ) -> list[Waiter]:
        """Finish a review that failed; return its waiters.

        No review is sent for a while, or for as long as the API server asked for.
        """
        self._failures += 1
        pause = BACKOFF.seconds(self._failures)
        if retry_after_seconds is not None:
            pause = min(max(retry_after_seconds, BACKOFF.first_seconds), LONGEST_PAUSE_SECONDS)
        if now >= self._paused_until:  # several failures at once count once
            least = min(LEAST_IN_FLIGHT, self._limit_in_flight)
            self._limit_now = max(least, self._limit_now / 2)
        self._paused_until = max(self._paused_until, now + pause)
        return self.finished(pending)

    def retry_after_seconds(self, now: float) -> int:
        """Return after how long a retry makes sense, in whole seconds."""
        return max(1, math.ceil(self._paused_until - now)) if now < self._paused_until else 1

    def remove_expired(self, now: float) -> list[Waiter]:
        """Remove the waiters that waited too long. A review in flight goes on, for their retry."""
        before = now - self._timeout_seconds
        found: list[Waiter] = []
        for pending in list(self._queued.values()):
            while pending.waiters and pending.waiters[0][0] <= before:
                found.append(pending.waiters.popleft()[1])
            if not pending.is_sent and not pending.waiters:
                self._leave_line(pending)
        self.rejected += len(found)
        return found

    def _may_send(self, source: str, now: float) -> bool:
        free = self.allowed_in_flight - self.in_flight
        return now >= self._paused_until and self._in_flight_of[source] < free

    def _leave_line(self, pending: PendingReview[Question, Waiter]) -> list[Waiter]:
        line = self._lines[pending.source]
        line.remove(pending)
        if not line:
            del self._lines[pending.source]
        self.waiting -= 1
        del self._queued[pending.key]
        return [waiter for _, waiter in pending.waiters]
