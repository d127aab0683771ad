"""Answers questions of one kind from what is cached, or asks the API server: one review for each
question, a bounded number at once, sources in turn.

`FairQueue` decides what is asked next, and which requests have waited for too long. It has no
socket and no clock. `CachedAnswers` sends the reviews, and caches their results.

Requests that have to wait queue by the client they come from, and the queues take turns. A client
has at most as many reviews in flight as are left for others. So a client that floods the gate with
unseen tokens, or whose reviews are slow, delays only itself. When the queue is full, the last
request of the longest line is rejected. No request waits longer than `timeout_seconds`; a later
result is used for the retry.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from daypass._core.clock import Backoff, Clock
from daypass._core.errors import DaypassError
from daypass.gate.authorizer.api_server import NoAnswerError
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import CachedResponse, ExpiringCache, K
from daypass.gate.authorizer.served_gate import AuthzResponse, unavailable
from daypass.gate.metrics import QuestionMetrics
from daypass.rules.reasons import Reason

LIMIT_IN_FLIGHT = 64
LIMIT_WAITING = 1024
TIMEOUT_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
BACKOFF = Backoff(first_seconds=0.1, longest_seconds=2.0)
REFUSED_SECONDS = 5.0
"""How long a refusal by the API server is cached: a Secret or a RoleBinding may be seconds old, and
unknown to the replica that answered."""
LIMIT_REFUSALS = 10_000
AGAIN_SECONDS = 2.0

Ask: TypeAlias = Callable[[float], Awaitable[AuthzResponse]]
"""Asks the API server, now at this time; caches the result, and returns the response to all who
have this question. Raises NoAnswerError."""
Waiter: TypeAlias = asyncio.Future[AuthzResponse]
E = TypeVar("E", bound=CachedResponse)


@dataclass(slots=True, kw_only=True, eq=False)
class Question:
    """A question to the API server. `key` is the same for the same question, and holds no token.
    `source`: of the request. `waiters`: with the time since which each waits.
    """

    key: Hashable
    source: str
    ask: Ask = field(repr=False)
    metrics: QuestionMetrics = field(repr=False)
    waiters: deque[tuple[float, Waiter]] = field(default_factory=deque)
    is_sent: bool = False


class FairQueue:
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
        self._queued: dict[Hashable, Question] = {}
        self._lines: dict[str, deque[Question]] = {}
        self._in_flight_of: Counter[str] = Counter()
        self._paused_until = -math.inf
        self._failures = 0
        self.in_flight = 0
        self.waiting = 0
        self.rejected = 0

    def submit(self, question: Question, waiter: Waiter | None, now: float) -> list[Waiter]:
        """Queue a review, unless there is one of this key; return the rejected waiters.

        Without a `waiter`, the review is queued only if it can start at once.
        """
        queued = self._queued.get(question.key)
        if queued is not None:
            if waiter is not None:
                queued.waiters.append((now, waiter))
            return []
        if waiter is None:
            if question.source in self._lines or not self._may_send(question.source, now):
                return []
        elif now < self._paused_until:
            self.rejected += 1
            return [waiter]
        displaced: list[Waiter] = []
        if self.waiting >= self._limit_waiting:
            line = self._lines.get(question.source)
            longest = max(self._lines.values(), key=len)
            if (line is not None and len(line) >= len(longest)) or len(longest) <= 1:
                self.rejected += 1
                return [] if waiter is None else [waiter]
            displaced = self._leave_line(longest[-1])
            self.rejected += len(displaced)
        if waiter is not None:
            question.waiters.append((now, waiter))
        self._queued[question.key] = question
        self._lines.setdefault(question.source, deque()).append(question)
        self.waiting += 1
        return displaced

    def next(self, now: float) -> Question | None:
        """Return the review to send now; `answered`, `finished` or `failed` has to follow."""
        for source in self._lines:
            if self._may_send(source, now):
                break
        else:
            return None
        line = self._lines.pop(source)
        question = line.popleft()
        if line:  # back to the end: every other line has its turn first
            self._lines[source] = line
        self.waiting -= 1
        self.in_flight += 1
        self._in_flight_of[source] += 1
        question.is_sent = True
        return question

    def answered(self, question: Question) -> list[Waiter]:
        """Finish a review that the API server answered; return its waiters."""
        self._failures = 0
        return self.finished(question)

    def finished(self, question: Question) -> list[Waiter]:
        """Finish a review that says nothing about the API server; return its waiters."""
        self.in_flight -= 1
        self._in_flight_of[question.source] -= 1
        if not self._in_flight_of[question.source]:
            del self._in_flight_of[question.source]
        del self._queued[question.key]
        return [waiter for _, waiter in question.waiters]

    def failed(
        self,
        question: Question,
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
        self._paused_until = max(self._paused_until, now + pause)
        return self.finished(question)

    def retry_after_seconds(self, now: float) -> int:
        """Return after how long a retry makes sense, in whole seconds."""
        if now >= self._paused_until:
            return 1
        left = round(self._paused_until - now, 6)  # floats: (now + 20) - now can be above 20
        return max(1, math.ceil(left))

    def remove_expired(self, now: float) -> list[Waiter]:
        """Remove the waiters that waited too long. A review in flight goes on, for their retry."""
        before = now - self._timeout_seconds
        found: list[Waiter] = []
        for question in list(self._queued.values()):
            while question.waiters and question.waiters[0][0] <= before:
                found.append(question.waiters.popleft()[1])
            if not question.is_sent and not question.waiters:
                self._leave_line(question)
        self.rejected += len(found)
        return found

    def _may_send(self, source: str, now: float) -> bool:
        free = self._limit_in_flight - self.in_flight
        return now >= self._paused_until and self._in_flight_of[source] < free

    def _leave_line(self, question: Question) -> list[Waiter]:
        line = self._lines[question.source]
        line.remove(question)
        if not line:
            del self._lines[question.source]
        self.waiting -= 1
        del self._queued[question.key]
        return [waiter for _, waiter in question.waiters]


class CachedAnswers(Generic[K, E]):
    """Reviews of one `kind`, by key, in an event loop. `allowed`: what is, as `ask` has cached it.

    `heard_at`: when the API server last answered, on the monotonic clock. `last_error`: why it
    can't be asked, or "".
    """

    def __init__(
        self, kind: str, allowed: ExpiringCache[K, E], clock: Clock, audit: AuditLog
    ) -> None:
        self.allowed = allowed
        self.refusals: ExpiringCache[K, CachedResponse] = ExpiringCache(LIMIT_REFUSALS)
        self.queue = FairQueue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heard_at: float | None = None
        self.last_error = ""
        self._kind = kind
        self._monotonic = clock.monotonic
        self._audit = audit

    def look_up(self, key: K, question: Question) -> AuthzResponse | None:
        """Return the cached response; None if `review` has to get it.

        A response that is in use is reviewed again in the background before it expires.
        """
        now, metrics = self._monotonic(), question.metrics
        if (entry := self.allowed.get(key, now)) is not None:
            if now >= entry.fresh_until:
                entry.fresh_until = min(now + AGAIN_SECONDS, entry.until)
                self._submit(question, None)
            metrics.hits += 1
            return entry.response
        if (refusal := self.refusals.get(key, now)) is not None:
            metrics.refused += 1
            return refusal.response
        metrics.misses += 1
        return None

    def review(self, question: Question) -> Waiter:
        """Return what gets the response of a review, whatever is cached."""
        waiter = asyncio.get_running_loop().create_future()
        self._submit(question, waiter)
        return waiter

    def refuse(self, key: K, response: AuthzResponse) -> None:
        """Cache a refusal by the API server."""
        self.allowed.remove(key)
        until = self._monotonic() + REFUSED_SECONDS
        self.refusals.put(key, CachedResponse(response=response, fresh_until=until, until=until))

    def tick(self) -> None:
        """Reject requests that waited too long, and start what may start now."""
        now = self._monotonic()
        self._reject(self.queue.remove_expired(now), now)
        self._start_reviews(now)

    async def stop(self) -> None:
        """Cancel all reviews."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _submit(self, question: Question, waiter: Waiter | None) -> None:
        """Queue a review. Without a `waiter`: if it can start now."""
        now = self._monotonic()
        self._reject(self.queue.submit(question, waiter, now), now)
        self._start_reviews(now)

    def _start_reviews(self, now: float) -> None:
        while (question := self.queue.next(now)) is not None:
            task = asyncio.create_task(self._review(question))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _review(self, question: Question) -> None:
        began = self._monotonic()
        result: AuthzResponse | NoAnswerError
        try:
            result = await question.ask(began)
        except NoAnswerError as failure:
            result = failure
        except DaypassError as error:
            result = NoAnswerError(str(error))
        except Exception as error:  # whatever it is, the waiters need a response
            name = type(error).__name__
            result = NoAnswerError(f"the API server could not be asked ({name})")
        now, is_answered = self._monotonic(), isinstance(result, AuthzResponse)
        question.metrics.finished(now - began, is_answered=is_answered)
        why = ""
        if isinstance(result, AuthzResponse):
            _respond(self.queue.answered(question), result)
        elif result.about_request:
            _respond(self.queue.finished(question), unavailable(1))
        else:
            why = result.why
            self._reject(self.queue.failed(question, now, result.retry_after_seconds), now)
        if not why:  # a client's request must not make the API server look down
            self.heard_at = now
        self._note_error(why)
        self._start_reviews(now)

    def _note_error(self, error: str) -> None:
        if bool(error) != bool(self.last_error):
            event = AuditEvent.UNREACHABLE if error else AuditEvent.REACHED
            why = Reason.UNKNOWN if error else Reason.ALLOWED
            self._audit.event(event, why, reviews=self._kind)
        self.last_error = error

    def _reject(self, waiters: Iterable[Waiter], now: float) -> None:
        if waiters:
            _respond(waiters, unavailable(self.queue.retry_after_seconds(now)))


def _respond(waiters: Iterable[Waiter], response: AuthzResponse) -> None:
    for waiter in waiters:
        if not waiter.done():  # its client may have gone
            waiter.set_result(response)
