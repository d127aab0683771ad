"""Answers questions of one kind: from what is cached, or by asking the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeAlias, TypeVar

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import CachedResponse, ExpiringCache, K
from daypass.gate.authorizer.responses import AuthzResponse, unavailable
from daypass.gate.authorizer.review_client import ReviewFailure
from daypass.gate.authorizer.review_queue import PendingReview, ReviewQueue
from daypass.gate.metrics import ReviewMetrics
from daypass.rules.reasons import Reason

REFUSED_SECONDS = 5.0
"""How long a refusal by the API server is cached: a Secret or a RoleBinding may be seconds old, and
unknown to the replica that answered."""
LIMIT_REFUSALS = 10_000
AGAIN_SECONDS = 2.0

Ask: TypeAlias = Callable[[float], Awaitable[AuthzResponse | ReviewFailure]]
"""Asks the API server, now at this time; caches the result, and returns the response to all who
have this question."""
Waiter: TypeAlias = asyncio.Future[AuthzResponse]
_Question: TypeAlias = tuple[Ask, ReviewMetrics]
_Pending: TypeAlias = PendingReview[_Question, Waiter]
E = TypeVar("E", bound=CachedResponse)


class Reviewer(Generic[K, E]):
    """Reviews of one `kind`, by key, in an event loop. `cache`: what is allowed.

    `heard_at`: when the API server last answered, on the monotonic clock. `last_error`: why it
    can't be asked, or "".
    """

    def __init__(
        self, kind: str, cache: ExpiringCache[K, E], clock: Clock, audit: AuditLog
    ) -> None:
        self.cache = cache
        self.refusals: ExpiringCache[K, CachedResponse] = ExpiringCache(LIMIT_REFUSALS)
        self.queue: ReviewQueue[_Question, Waiter] = ReviewQueue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heard_at: float | None = None
        self.last_error = ""
        self._kind = kind
        self._monotonic = clock.monotonic
        self._audit = audit

    def answer(
        self, key: K, source: str, ask: Ask, metrics: ReviewMetrics
    ) -> AuthzResponse | Waiter:
        """Return the cached response, or what gets it from a review. `source`: of the request.

        A response that is in use is reviewed again in the background before it expires.
        """
        now = self._monotonic()
        if (entry := self.cache.get(key, now)) is not None:
            if now >= entry.fresh_until:
                entry.fresh_until = min(now + AGAIN_SECONDS, entry.until)
                self._submit(key, source, (ask, metrics), None)
            metrics.hits += 1
            return entry.response
        if (refusal := self.refusals.get(key, now)) is not None:
            metrics.refused += 1
            return refusal.response
        metrics.misses += 1
        return self.review(key, source, ask, metrics)

    def review(self, key: K, source: str, ask: Ask, metrics: ReviewMetrics) -> Waiter:
        """Return what gets the response of a review, whatever is cached."""
        waiter = asyncio.get_running_loop().create_future()
        self._submit(key, source, (ask, metrics), waiter)
        return waiter

    def refuse(self, key: K, response: AuthzResponse) -> None:
        """Cache a refusal by the API server."""
        self.cache.remove(key)
        until = self._monotonic() + REFUSED_SECONDS
        self.refusals.put(key, CachedResponse(response=response, fresh_until=until, until=until))

    def tick(self) -> None:
        """Reject requests that waited too long, and start what may start now."""
        now = self._monotonic()
        self._reject(self.queue.remove_expired(now), now)
        self._start_reviews(now)

    def _submit(self, key: K, source: str, question: _Question, waiter: Waiter | None) -> None:
        """Queue a review. Without a `waiter`: if it can start now."""
        now = self._monotonic()
        pending: _Pending = PendingReview(key=key, source=source, question=question)
        self._reject(self.queue.submit(pending, waiter, now), now)
        self._start_reviews(now)

    def _start_reviews(self, now: float) -> None:
        while (pending := self.queue.next(now)) is not None:
            task = asyncio.create_task(self._review(pending))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _review(self, pending: _Pending) -> None:
        ask, metrics = pending.question
        began = self._monotonic()
        try:
            result = await ask(began)
        except DaypassError as error:
            result = ReviewFailure(why=str(error))
        except Exception as error:  # whatever it is, the waiters need a response
            why = f"the API server could not be asked ({type(error).__name__})"
            result = ReviewFailure(why=why)
        now = self._monotonic()
        metrics.finished(now - began, is_answered=isinstance(result, AuthzResponse))
        if isinstance(result, AuthzResponse):
            _respond(self.queue.answered(pending), result)
        elif result.about_request:
            _respond(self.queue.finished(pending), unavailable(1))
        else:
            waiters = self.queue.failed(pending, now, result.retry_after_seconds)
            self._reject(waiters, now)
        if isinstance(result, ReviewFailure) and not result.about_request:
            self._note_error(result.why)
        else:  # a client's request must not make the API server look down
            self.heard_at = now
            self._note_error("")
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
