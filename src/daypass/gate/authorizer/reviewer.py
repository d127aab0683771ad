"""Asks the API server about tokens and accesses: in one queue, with one view of its health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import AccessKey
from daypass.gate.authorizer.responses import AuthzResponse, unavailable
from daypass.gate.authorizer.review_client import ReviewFailure
from daypass.gate.authorizer.review_queue import PendingReview, ReviewQueue
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.metrics import ReviewMetrics
from daypass.rules.claims import BoundClaims, CallerIdentity
from daypass.rules.decision import Review
from daypass.rules.models import Access
from daypass.rules.reasons import Reason

PROBE_AFTER_SECONDS = 10.0
PROBE_TOKEN = "e30.e30.e30"  # noqa: S105 - `{}` thrice, which every API server refuses

ResponseWaiter: TypeAlias = Callable[[AuthzResponse], None]
AskToken: TypeAlias = Callable[[str, str], Awaitable[Review | ReviewFailure]]
"""Asks about a token, for an audience."""
AskAccess: TypeAlias = Callable[[CallerIdentity, Access], Awaitable[bool | ReviewFailure]]
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenQuestion:
    """Whether the API server accepts a token. `key`: its cache key. `claims` have been checked."""

    gate: ServedGate
    key: bytes
    token: str = field(repr=False)
    claims: BoundClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessQuestion:
    """Whether a caller may use a model."""

    gate: ServedGate
    identity: CallerIdentity
    access: Access

    @property
    def key(self) -> AccessKey:
        """Its cache key."""
        return self.gate.name, self.identity.user, self.access


Question: TypeAlias = TokenQuestion | AccessQuestion
Judge: TypeAlias = Callable[[Question, Review | bool, float], AuthzResponse]
"""Returns the response to a question, from its result and when it was asked."""


class Reviewer:
    """Sends questions in an event loop.

    `heard_at`: when the API server last answered, on the monotonic clock. `last_error`: why it
    can't be asked, or "".
    """

    def __init__(
        self,
        ask_token: AskToken,
        ask_access: AskAccess,
        judge: Judge,
        clock: Clock,
        audit: AuditLog,
    ) -> None:
        self.queue: ReviewQueue[Question, ResponseWaiter] = ReviewQueue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heard_at: float | None = None
        self.last_error = ""
        self._ask_token = ask_token
        self._ask_access = ask_access
        self._judge = judge
        self._monotonic = clock.monotonic
        self._audit = audit
        self._probed_at = clock.monotonic()

    def submit(self, question: Question, source: str, waiter: ResponseWaiter | None) -> None:
        """Send a question; `waiter` gets the response. Without a `waiter`: if it can start now."""
        now = self._monotonic()
        pending = PendingReview(key=question.key, source=source, question=question)
        self._reject(self.queue.submit(pending, waiter, now), now)
        self._start_reviews()

    def tick(self) -> None:
        """Reject requests that waited too long, and start what may start now."""
        now = self._monotonic()
        self._reject(self.queue.remove_expired(now), now)
        self._start_reviews()

    def reject_waiting(self) -> None:
        """Reject all requests that wait."""
        _respond(self.queue.remove_all_waiters(), unavailable(1))

    def start(self, work: Awaitable[None]) -> None:
        """Do something in the background."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def probe_if_quiet(self, gate: ServedGate) -> None:
        """Send a probe if there has been no review for a while."""
        now = self._monotonic()
        if now - max(self.heard_at or 0.0, self._probed_at) > PROBE_AFTER_SECONDS:
            self._probed_at = now
            self.start(self.probe(gate))

    async def probe(self, gate: ServedGate) -> None:
        """Ask about a token that is none."""
        self._probed_at = self._monotonic()
        ask = partial(self._ask_token, PROBE_TOKEN, gate.rules.audience)
        await self._send(ask, gate.metrics.token_reviews)

    def _start_reviews(self) -> None:
        while (pending := self.queue.next(self._monotonic())) is not None:
            self.start(self._review(pending))

    async def _review(self, pending: PendingReview[Question]) -> None:
        question, asked_at = pending.question, self._monotonic()
        result = await self._ask(question)
        if not isinstance(result, ReviewFailure):
            waiters = self.queue.answered(pending)
            response = self._judge(question, result, asked_at)
        elif result.about_request:
            waiters = self.queue.finished(pending)
            response = unavailable(1)
        else:
            now = self._monotonic()
            waiters = self.queue.failed(pending, now, result.retry_after_seconds)
            response = unavailable(self.queue.retry_after_seconds(now))
        _respond(waiters, response)
        self._start_reviews()

    async def _ask(self, question: Question) -> Review | bool | ReviewFailure:
        metrics = question.gate.metrics
        if isinstance(question, TokenQuestion):
            ask = partial(self._ask_token, question.token, question.claims.audience)
            return await self._send(ask, metrics.token_reviews)
        ask_access = partial(self._ask_access, question.identity, question.access)
        return await self._send(ask_access, metrics.access_reviews)

    async def _send(
        self, ask: Callable[[], Awaitable[R | ReviewFailure]], metrics: ReviewMetrics
    ) -> R | ReviewFailure:
        began = self._monotonic()
        result: R | ReviewFailure
        try:
            result = await ask()
        except DaypassError as error:
            result = ReviewFailure(why=str(error))
        except Exception as error:  # whatever it is, the waiters need a response
            result = ReviewFailure(
                why=f"the API server could not be asked ({type(error).__name__})"
            )
        now = self._monotonic()
        metrics.finished(now - began, is_answered=not isinstance(result, ReviewFailure))
        if isinstance(result, ReviewFailure) and not result.about_request:
            self._note_error(result.why)
        else:  # a client's request must not make the API server look down
            self.heard_at = now
            self._note_error("")
        return result

    def _note_error(self, error: str) -> None:
        if bool(error) != bool(self.last_error):
            event = AuditEvent.UNREACHABLE if error else AuditEvent.REACHED
            self._audit.event(event, Reason.UNKNOWN if error else Reason.ALLOWED)
        self.last_error = error

    def _reject(self, waiters: list[ResponseWaiter], now: float) -> None:
        if waiters:
            _respond(waiters, unavailable(self.queue.retry_after_seconds(now)))


def _respond(waiters: Iterable[ResponseWaiter], response: AuthzResponse) -> None:
    for waiter in waiters:
        waiter(response)
