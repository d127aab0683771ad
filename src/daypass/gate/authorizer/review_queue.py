"""Which token the API server is asked about next, and who has waited for too long.

One question a token, however many wait for its answer. So many at once as the API server bears;
those that have to wait stand in line by where they come from, and take turns: whoever floods the
gate with tokens that nobody has seen waits behind himself. What is full turns away the last of the
longest line. Nobody waits for longer than `patience_seconds`; an answer that comes later is there
for the next try. Knows no socket and no clock.
"""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST_AT_ONCE = 64
MOST_WAITING = 1024
PATIENCE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.1, 2.0
LEAST_AT_ONCE = 4

Waiter = TypeVar("Waiter")


def source_of(address: str) -> str:
    """Whose line a client stands in: an IPv4 address, or the network that IPv6 gives to a host."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingReview:
    """A token to ask about. `key` stands for it wherever the token itself need not be."""

    key: bytes
    token: str
    source: str

    def __repr__(self) -> str:
        return f"Question(source={self.source!r})"


@dataclass(slots=True, kw_only=True, eq=False)
class _Flight(Generic[Waiter]):
    question: PendingReview
    waiters: deque[tuple[float, Waiter]]
    since: float
    is_asked: bool = False


class ReviewQueue(Generic[Waiter]):
    """The questions that are waiting or on their way."""

    def __init__(
        self,
        *,
        most_at_once: int = MOST_AT_ONCE,
        most_waiting: int = MOST_WAITING,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._patience_seconds = patience_seconds
        self._flights: dict[bytes, _Flight[Waiter]] = {}
        self._lines: dict[str, deque[_Flight[Waiter]]] = {}
        self._allowed = float(most_at_once)
        self._paused_until = -math.inf
        self._failures = 0
        self.asked = 0
        self.waiting = 0
        self.turned_away = 0

    def submit(self, question: PendingReview, waiter: Waiter | None, now: float) -> list[Waiter]:
        """Have it asked, once. Gives back whom there is no place for, `waiter` or others.

        `waiter` None: nobody waits; then it is asked only if there is a place at once.
        """
        flight = self._flights.get(question.key)
        if flight is not None:
            if waiter is not None:
                flight.waiters.append((now, waiter))
            return []
        if waiter is None:
            if self.waiting or self.asked >= self.allowed or now < self._paused_until:
                return []
        elif now < self._paused_until:
            self.turned_away += 1
            return [waiter]
        displaced: list[Waiter] = []
        if self.waiting >= self._most_waiting:
            line = self._lines.get(question.source)
            longest = max(self._lines.values(), key=len)
            if (line is not None and len(line) >= len(longest)) or len(longest) <= 1:
                self.turned_away += 1
                return [] if waiter is None else [waiter]
            displaced = self._drop(longest.pop())
        waiters = deque([] if waiter is None else [(now, waiter)])
        flight = _Flight(question=question, waiters=waiters, since=now)
        self._flights[question.key] = flight
        self._lines.setdefault(question.source, deque()).append(flight)
        self.waiting += 1
        return displaced

    @property
    def allowed(self) -> int:
        """How many may be on their way at once."""
        return max(1, int(self._allowed))

    def next(self, now: float) -> PendingReview | None:
        """What to ask now, if anything; `answered` or `failed` has to follow."""
        if self.asked >= self.allowed or now < self._paused_until:
            return None
        while self._lines:
            source = next(iter(self._lines))
            line = self._lines.pop(source)
            if not line:
                continue
            flight = line.popleft()
            if line:  # back to the end: everybody else has a turn first
                self._lines[source] = line
            self.waiting -= 1
            self.asked += 1
            flight.is_asked = True
            return flight.question
        return None

    def answered(self, question: PendingReview) -> list[Waiter]:
        """The API server has answered; gives back who waits for that."""
        self._failures = 0
        self._allowed = min(self._most_at_once, self._allowed + 1 / self._allowed)
        return self._landed(question)

    def given_up(self, question: PendingReview) -> list[Waiter]:
        """It has not, for what is wrong with this one; gives back who waits for that."""
        return self._landed(question)

    def failed(
        self, question: PendingReview, now: float, retry_after_seconds: float | None
    ) -> list[Waiter]:
        """It has not; nobody is asked for a while. `retry_after_seconds`: what it said itself."""
        self._failures += 1
        pause = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures, 10), LONGEST_BACKOFF_SECONDS)
        if retry_after_seconds is not None:
            pause = min(max(retry_after_seconds, FIRST_BACKOFF_SECONDS), LONGEST_PAUSE_SECONDS)
        if now >= self._paused_until:  # one failure of many at once counts
            self._allowed = max(LEAST_AT_ONCE, self._allowed / 2)
        self._paused_until = max(self._paused_until, now + pause)
        return self._landed(question)

    def retry_after_seconds(self, now: float) -> int:
        """After how long it is worth to ask again."""
        return max(1, math.ceil(self._paused_until - now)) if now < self._paused_until else 1

    def impatient(self, now: float) -> list[Waiter]:
        """Who has waited for too long. A question on its way stays there, for the next try."""
        before = now - self._patience_seconds
        found: list[Waiter] = []
        for flight in list(self._flights.values()):
            while flight.waiters and flight.waiters[0][0] <= before:
                found.append(flight.waiters.popleft()[1])
            if not flight.is_asked and not flight.waiters:
                self._leave_line(flight)
        self.turned_away += len(found)
        return found

    def everybody(self) -> Iterator[Waiter]:
        """All who wait, for an end."""
        for flight in self._flights.values():
            while flight.waiters:
                yield flight.waiters.popleft()[1]

    def _landed(self, question: PendingReview) -> list[Waiter]:
        self.asked -= 1
        return [waiter for _, waiter in self._flights.pop(question.key).waiters]

    def _drop(self, flight: _Flight[Waiter]) -> list[Waiter]:
        self.waiting -= 1
        del self._flights[flight.question.key]
        self.turned_away += len(flight.waiters)
        return [waiter for _, waiter in flight.waiters]

    def _leave_line(self, flight: _Flight[Waiter]) -> None:
        source = flight.question.source
        self._lines[source].remove(flight)
        if not self._lines[source]:
            del self._lines[source]
        self._drop(flight)
