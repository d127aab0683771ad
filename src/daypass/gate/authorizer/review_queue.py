"""Reviews of tokens: one per token, a bounded number at once, sources in turn.

`FairQueue` decides which token is reviewed next and which requests have waited for too long; it has
no socket and no clock. `ReviewQueue` sends the reviews from one event loop.

Requests that have to wait queue by the client they come from, and the queues take turns: a client
that floods the gate with unseen tokens delays only itself. When the queue is full, the last request
of the longest line is rejected. No request waits longer than `patience_seconds`; a later result is
used for the retry.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.reasons import Reason
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.metrics import AuthorizerMetrics
from daypass.gate.authorizer.responses import AuthzResponse
from daypass.gate.authorizer.token_reviews import ReviewFailure
from daypass.gate.decision import BoundClaims, Review

MOST_AT_ONCE = 64
MOST_WAITING = 1024
PATIENCE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.1, 2.0
LEAST_AT_ONCE = 4
TICK_SECONDS = 0.05
PROBE_AFTER_SECONDS = 10.0
STALLED_SECONDS = 10.0
PROBE_TOKEN = "e30.e30.e30"  # noqa: S105 - `{}` thrice, which every API server refuses

Waiter = TypeVar("Waiter")
ResponseWaiter: TypeAlias = Callable[[AuthzResponse], None]
Ask: TypeAlias = Callable[[str], Awaitable[Review | ReviewFailure]]


def source_of(address: str) -> str:
    """Return the line of a client: its IPv4 address, or the /64 network of its IPv6 address."""
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
    """A token to review. `key` identifies it without revealing it; `claims` have been checked."""

    key: bytes
    token: str = field(repr=False)
    source: str
    claims: BoundClaims = field(repr=False)


@dataclass(slots=True, kw_only=True, eq=False)
class _QueuedReview(Generic[Waiter]):
    pending: PendingReview
    waiters: deque[tuple[float, Waiter]]
    is_sent: bool = False


class FairQueue(Generic[Waiter]):
    """The reviews that wait or are in flight. Methods return the waiters to respond to now."""

    def __init__(
        self,
        *,
        most_at_once: int = MOST_AT_ONCE,
        most_waiting: int = MOST_WAITING,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._limit_in_flight = most_at_once
        self._most_waiting = most_waiting
        self._patience_seconds = patience_seconds
        self._queued: dict[bytes, _QueuedReview[Waiter]] = {}
        self._lines: dict[str, deque[_QueuedReview[Waiter]]] = {}
        self._allowed = float(most_at_once)
        self._paused_until = -math.inf
        self._failures = 0
        self.in_flight = 0
        self.waiting = 0
        self.rejected = 0

    def submit(self, pending: PendingReview, waiter: Waiter | None, now: float) -> list[Waiter]:
        """Queue a review, unless there is one for this token; return the rejected waiters.

        Without a `waiter`, the review is queued only if it can start at once.
        """
        queued = self._queued.get(pending.key)
        if queued is not None:
            if waiter is not None:
                queued.waiters.append((now, waiter))
            return []
        if waiter is None:
            if self.waiting or self.in_flight >= self.allowed or now < self._paused_until:
                return []
        elif now < self._paused_until:
            self.rejected += 1
            return [waiter]
        displaced: list[Waiter] = []
        if self.waiting >= self._most_waiting:
            line = self._lines.get(pending.source)
            longest = max(self._lines.values(), key=len)
            if (line is not None and len(line) >= len(longest)) or len(longest) <= 1:
                self.rejected += 1
                return [] if waiter is None else [waiter]
            displaced = self._drop(longest.pop())
        waiters = deque([] if waiter is None else [(now, waiter)])
        queued = _QueuedReview(pending=pending, waiters=waiters)
        self._queued[pending.key] = queued
        self._lines.setdefault(pending.source, deque()).append(queued)
        self.waiting += 1
        return displaced

    @property
    def allowed(self) -> int:
        """The number of reviews that may be in flight at once."""
        return max(1, int(self._allowed))

    def next(self, now: float) -> PendingReview | None:
        """Return the review to send now; `answered`, `given_up` or `failed` has to follow."""
        if self.in_flight >= self.allowed or now < self._paused_until:
            return None
        while self._lines:
            source = next(iter(self._lines))
            line = self._lines.pop(source)
            if not line:
                continue
            queued = line.popleft()
            if line:  # back to the end: every other line has its turn first
                self._lines[source] = line
            self.waiting -= 1
            self.in_flight += 1
            queued.is_sent = True
            return queued.pending
        return None

    def answered(self, pending: PendingReview) -> list[Waiter]:
        """The API server answered."""
        self._failures = 0
        self._allowed = min(self._limit_in_flight, self._allowed + 1 / self._allowed)
        return self._finished(pending)

    def given_up(self, pending: PendingReview) -> list[Waiter]:
        """The review failed because of this token alone."""
        return self._finished(pending)

    def failed(
        self, pending: PendingReview, now: float, retry_after_seconds: float | None
    ) -> list[Waiter]:
        """The review failed: send none for a while, or for what the API server asked for."""
        self._failures += 1
        pause = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures, 10), LONGEST_BACKOFF_SECONDS)
        if retry_after_seconds is not None:
            pause = min(max(retry_after_seconds, FIRST_BACKOFF_SECONDS), LONGEST_PAUSE_SECONDS)
        if now >= self._paused_until:  # several failures at once count once
            self._allowed = max(LEAST_AT_ONCE, self._allowed / 2)
        self._paused_until = max(self._paused_until, now + pause)
        return self._finished(pending)

    def retry_after_seconds(self, now: float) -> int:
        """Return after how long a retry makes sense, in whole seconds."""
        return max(1, math.ceil(self._paused_until - now)) if now < self._paused_until else 1

    def expired(self, now: float) -> list[Waiter]:
        """Remove the waiters that waited too long. A review in flight goes on, for their retry."""
        before = now - self._patience_seconds
        found: list[Waiter] = []
        for queued in list(self._queued.values()):
            while queued.waiters and queued.waiters[0][0] <= before:
                found.append(queued.waiters.popleft()[1])
            if not queued.is_sent and not queued.waiters:
                self._leave_line(queued)
        self.rejected += len(found)
        return found

    def all_waiters(self) -> Iterator[Waiter]:
        """Remove all waiters."""
        for queued in self._queued.values():
            while queued.waiters:
                yield queued.waiters.popleft()[1]

    def _finished(self, pending: PendingReview) -> list[Waiter]:
        self.in_flight -= 1
        return [waiter for _, waiter in self._queued.pop(pending.key).waiters]

    def _drop(self, queued: _QueuedReview[Waiter]) -> list[Waiter]:
        self.waiting -= 1
        del self._queued[queued.pending.key]
        self.rejected += len(queued.waiters)
        return [waiter for _, waiter in queued.waiters]

    def _leave_line(self, queued: _QueuedReview[Waiter]) -> None:
        source = queued.pending.source
        self._lines[source].remove(queued)
        if not self._lines[source]:
            del self._lines[source]
        self._drop(queued)


class ReviewQueue:
    """Sends reviews from one event loop: `start`, then `submit`; at the end `stop`.

    `ask` sends one TokenReview. `judge` turns a result into a response. `unavailable` returns the
    response to requests without a result, with the seconds after which to retry. It also sends a
    probe when there has been no review for a while. `heard_at`: when the API server last answered,
    on the monotonic clock. `trouble`: why it can't be asked, or "".
    """

    def __init__(
        self,
        ask: Ask,
        judge: Callable[[PendingReview, Review], AuthzResponse],
        unavailable: Callable[[int], AuthzResponse],
        clock: Clock,
        *,
        metrics: AuthorizerMetrics,
        audit: AuditLog,
        queue: FairQueue[ResponseWaiter] | None = None,
    ) -> None:
        self.queue: FairQueue[ResponseWaiter] = queue or FairQueue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heard_at: float | None = None
        self.trouble = ""
        self._ask = ask
        self._judge = judge
        self._unavailable = unavailable
        self._monotonic = clock.monotonic
        self._metrics = metrics
        self._audit = audit
        self._ticker: asyncio.Task[None] | None = None
        self._probed_at = self._ticked_at = clock.monotonic()

    async def start(self) -> None:
        """Send a first probe, and go on in the background."""
        await self._probe()
        self._ticked_at = self._monotonic()
        self._ticker = asyncio.create_task(self._run())

    @property
    def is_alive(self) -> bool:
        """Whether its background task runs."""
        return self._ticker is not None and not self._ticker.done()

    @property
    def is_stalled(self) -> bool:
        """Whether its event loop has not run for STALLED_SECONDS. From any thread."""
        return self._monotonic() - self._ticked_at > STALLED_SECONDS

    def submit(self, pending: PendingReview, waiter: ResponseWaiter | None) -> None:
        """Review a token; `waiter` gets the response. Without a `waiter`: if it can start now."""
        now = self._monotonic()
        self._reject(self.queue.submit(pending, waiter, now), now)
        self._start_reviews()

    def tick(self) -> None:
        """Reject requests that waited too long, and start what may start now."""
        now = self._ticked_at = self._monotonic()
        self._reject(self.queue.expired(now), now)
        self._start_reviews()

    async def stop(self) -> None:
        """Stop, and reject all requests that wait."""
        self._respond(list(self.queue.all_waiters()), self._unavailable(1))
        tasks = [*self.tasks, *([] if self._ticker is None else [self._ticker])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start_reviews(self) -> None:
        while (pending := self.queue.next(self._monotonic())) is not None:
            self._start(self._review(pending))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _review(self, pending: PendingReview) -> None:
        result = await self._send(pending.token)
        if isinstance(result, Review):
            waiters = self.queue.answered(pending)
            response = self._judge(pending, result)
        elif result.about_token:
            waiters = self.queue.given_up(pending)
            response = self._unavailable(1)
        else:
            now = self._monotonic()
            waiters = self.queue.failed(pending, now, result.retry_after_seconds)
            response = self._unavailable(self.queue.retry_after_seconds(now))
        self._respond(waiters, response)
        self._start_reviews()

    async def _send(self, token: str) -> Review | ReviewFailure:
        began = self._monotonic()
        try:
            result = await self._ask(token)
        except DaypassError as error:
            result = ReviewFailure(why=str(error))
        except Exception as error:  # whatever it is, the waiters need a response
            result = ReviewFailure(
                why=f"the API server could not be asked ({type(error).__name__})"
            )
        now = self._monotonic()
        self._metrics.reviewed(now - began, is_answered=isinstance(result, Review))
        if isinstance(result, Review):
            self.heard_at = now
            self._note_trouble("")
        elif not result.about_token:  # a client's token must not make the API server look down
            self._note_trouble(result.why)
        return result

    def _note_trouble(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            event = AuditEvent.UNREACHABLE if trouble else AuditEvent.REACHED
            self._audit.event(event, Reason.UNKNOWN if trouble else Reason.ALLOWED)
        self.trouble = trouble

    async def _probe(self) -> None:
        self._probed_at = self._monotonic()
        await self._send(PROBE_TOKEN)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()
            now = self._monotonic()
            if now - max(self.heard_at or 0.0, self._probed_at) > PROBE_AFTER_SECONDS:
                self._probed_at = now
                self._start(self._probe())

    def _reject(self, waiters: list[ResponseWaiter], now: float) -> None:
        if waiters:
            self._respond(waiters, self._unavailable(self.queue.retry_after_seconds(now)))

    def _respond(self, waiters: list[ResponseWaiter], response: AuthzResponse) -> None:
        for waiter in waiters:
            self._metrics.decisions[response.reason] += 1
            waiter(response)
