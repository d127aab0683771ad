"""The authorizer: answers a request from its cache, from its claims, or after a TokenReview.

It opens no socket; `ask` sends a TokenReview. It runs in one event loop and is not safe to share
between threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from sys import intern
from typing import TypeAlias
from weakref import WeakValueDictionary

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.config import Gate
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import CachedDecision, DecisionCache, RefusalCache
from daypass.gate.authorizer.responses import AuthzResponse, AuthzResponses
from daypass.gate.authorizer.review_queue import PendingReview, ReviewQueue
from daypass.gate.authorizer.token_reviews import ReviewFailure
from daypass.gate.metrics import AuthorizerMetrics
from daypass.gate.signing_keys import WAIT_SECONDS, TokenVerifier, UnreadKeyError
from daypass.rules.claims import BoundClaims
from daypass.rules.credentials import part_of
from daypass.rules.decision import (
    GateRequest,
    RefusedError,
    Review,
    Rules,
    check_claims,
    check_current,
    check_review,
)
from daypass.rules.published import Published
from daypass.rules.reasons import Reason

REFUSED_SECONDS = 5.0
"""How long a refusal by the API server is cached: a Secret may be seconds old, and unknown to the
replica that answered."""
LIMIT_REFUSALS = 10_000
FRESH_SHARE = 0.8
"""A token in use is reviewed again after this share of the time for which a decision is cached."""
AGAIN_SECONDS = 2.0
TICK_SECONDS = 0.05
SWEEP_EVERY_SECONDS = 1.0
PROBE_AFTER_SECONDS = 10.0
PROBE_TOKEN = "e30.e30.e30"  # noqa: S105 - `{}` thrice, which every API server refuses
STALLED_SECONDS = 10.0
LIMIT_HOSTS = 1_000
LIMIT_HOST_BYTES = 300
"""A host name has at most 253 bytes; Envoy takes anything after a colon for a port."""


ResponseWaiter: TypeAlias = Callable[[AuthzResponse], None]
Ask: TypeAlias = Callable[[str], Awaitable[Review | ReviewFailure]]


class Authorizer:
    """Answers requests. `take_published` replaces `published` of the `rules`.

    From `start` to `stop` it also sends a probe when there has been no review for a while.
    `heard_at`: when the API server last answered, on the monotonic clock. `last_error`: why it
    can't be asked, or "". `verifier`: None if the proxy has verified the tokens.
    `closed_parts`: the numbers of the published parts that refuse every token.
    """

    def __init__(
        self,
        gate: Gate,
        rules: Rules,
        ask: Ask,
        clock: Clock,
        *,
        audit: AuditLog,
        verifier: TokenVerifier | None,
    ) -> None:
        self.metrics = AuthorizerMetrics()
        self.responses = AuthzResponses(gate)
        self.cache = DecisionCache()
        self.refusals = RefusalCache(limit_entries=LIMIT_REFUSALS)
        self.queue: ReviewQueue[ResponseWaiter] = ReviewQueue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heard_at: float | None = None
        self.last_error = ""
        published = rules.published
        self.closed_parts = published.closed_parts(clock.unix()) if published else frozenset()
        self._rules = rules
        self._ask = ask
        self._audit = audit
        self._verifier = verifier
        self._clock = clock
        self._monotonic = clock.monotonic
        self._remember_seconds = gate.remember_seconds
        self._entries = self.cache.entries
        self._known_hosts: set[bytes] = set()
        self._allowed: WeakValueDictionary[str, AuthzResponse] = WeakValueDictionary()
        self._ticker: asyncio.Task[None] | None = None
        self._probed_at = self._ticked_at = self._swept_at = clock.monotonic()

    async def start(self) -> None:
        """Send a first probe, and go on in the background."""
        await self._probe()
        self._ticked_at = self._monotonic()
        self._ticker = asyncio.create_task(self._run())

    def reject_waiting(self) -> None:
        """Reject all requests that wait."""
        self._respond(self.queue.remove_all_waiters(), self._unavailable(1))

    async def stop(self) -> None:
        """Cancel all reviews, after `reject_waiting` and the end of all connections."""
        tasks = [*self.tasks, *([] if self._ticker is None else [self._ticker])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def is_alive(self) -> bool:
        """Whether its background task runs."""
        return self._ticker is not None and not self._ticker.done()

    @property
    def is_stalled(self) -> bool:
        """Whether its event loop has not run for STALLED_SECONDS. From any thread."""
        return self._monotonic() - self._ticked_at > STALLED_SECONDS

    def cached(self, host: bytes, authorization: bytes) -> AuthzResponse | None:
        """Return the response to a request that passes from the cache; otherwise call `check`.

        Nearly every request needs nothing else.
        """
        entry = self._entries.get(sha256(authorization).digest())
        if entry is None or host not in self._known_hosts or self._monotonic() >= entry.fresh_until:
            return None
        self.metrics.cache_hits += 1
        return entry.response

    def check(
        self, host: bytes, authorizations: Sequence[bytes], source: str, waiter: ResponseWaiter
    ) -> AuthzResponse | None:
        """Return the response that `cached` has not, or None: then `waiter` gets it later.

        `authorizations`: the values of all Authorization headers. `source`: the client's address.
        """
        values = tuple(value.decode("latin-1") for value in authorizations)
        request = GateRequest(host=host.decode("latin-1"), authorizations=values)
        signed = self._verifier.is_signed if self._verifier is not None else lambda _: None
        try:
            claims = check_claims(request, self._rules, self._clock.unix(), signed=signed)
        except UnreadKeyError as unknown:
            again = partial(self.check, host, authorizations, source, waiter)
            self._start(_check_after(unknown.reading, again, waiter))
            return None
        except RefusedError as refused:
            token = values[0].removeprefix("Bearer ") if values else ""
            self._note_refused(refused.reason, token)
            return self._count(self.responses.refused(refused.reason))
        self._remember_host(host)
        return self._from_review(authorizations[0], claims, source, waiter)

    def take_published(self, published: Published) -> None:
        """Refuse from now on what this no longer has. Call it on the event loop's thread."""
        before, self._rules = self._rules.published, replace(self._rules, published=published)
        self._forget_closed()  # first: what a closed part does not have may exist
        self._forget_refused(before or published, published)
        self.metrics.published_at = self._monotonic()

    @property
    def published(self) -> Published | None:
        """What it has taken last; None if it checks no credentials."""
        return self._rules.published

    def _forget_refused(self, before: Published, after: Published) -> None:
        """Remove the cached decisions on credentials that no longer exist or are denied.

        A decision is cached only if its credential is in the set, so the difference is enough.
        """
        deleted: set[str] = set()
        for old, new in zip(before.parts, after.parts, strict=False):
            if new is not old:
                deleted |= old.uids - new.uids
        deleted &= self.cache.credentials
        denied = after.denials

        def is_denied(entry: CachedDecision) -> bool:
            objects = (entry.secret, entry.account)
            return denied.denies(token=entry.jti, objects=objects, namespace=entry.namespace)

        if not deleted and denied.keys == before.denials.keys:
            return  # nearly always
        for entry in self.cache.remove_all(lambda e: e.credential in deleted or is_denied(e)):
            reason = Reason.DENIED if is_denied(entry) else Reason.UNKNOWN_CREDENTIAL
            user = entry.response.user
            self._audit.event(AuditEvent.REVOKED, reason, user=user, jti=entry.jti)
            self.metrics.evicted += 1

    def _forget_closed(self) -> None:
        """Remove the cached decisions of parts that have closed."""
        published, before = self._rules.published, self.closed_parts
        if published is None:
            return
        self.closed_parts = closed = published.closed_parts(self._clock.unix())
        if closed == before:
            return
        if newly := closed - before:
            parts = len(published.parts)
            found = self.cache.remove_all(lambda e: part_of(e.credential, parts) in newly)
            self.metrics.evicted += len(found)
            self._audit.event(AuditEvent.CLOSED, Reason.UNKNOWN, parts=len(closed))
        elif not closed:
            self._audit.event(AuditEvent.OPENED, Reason.ALLOWED)

    def _from_review(
        self, authorization: bytes, claims: BoundClaims, source: str, waiter: ResponseWaiter
    ) -> AuthzResponse | None:
        key = sha256(authorization).digest()
        now = self._monotonic()
        entry = self._entries.get(key)
        is_cached = entry is not None and now < entry.until
        if not is_cached and (refusal := self.refusals.get(key, now)) is not None:
            self.metrics.cached_refusals += 1
            return self._count(refusal)
        token = authorization.removeprefix(b"Bearer ").decode("ascii")
        pending = PendingReview(key=key, token=token, source=source, claims=claims)
        if entry is not None and is_cached:
            if now >= entry.fresh_until:
                entry.fresh_until = min(now + AGAIN_SECONDS, entry.until)
                self._submit(pending, None)
            self.metrics.cache_hits += 1
            return entry.response
        self.metrics.cache_misses += 1
        self._submit(pending, waiter)
        return None

    def tick(self) -> None:
        """Reject requests that waited too long, start what may start now, and forget decisions
        that are no longer used, or whose part of the set has closed.
        """
        now = self._ticked_at = self._monotonic()
        self._forget_closed()
        self._reject(self.queue.remove_expired(now), now)
        self._start_reviews()
        if now - self._swept_at >= SWEEP_EVERY_SECONDS:
            self._swept_at = now
            self.cache.sweep(now)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()
            now = self._monotonic()
            if now - max(self.heard_at or 0.0, self._probed_at) > PROBE_AFTER_SECONDS:
                self._probed_at = now
                self._start(self._probe())

    async def _probe(self) -> None:
        self._probed_at = self._monotonic()
        await self._send(PROBE_TOKEN)

    def _submit(self, pending: PendingReview, waiter: ResponseWaiter | None) -> None:
        """Review a token; `waiter` gets the response. Without a `waiter`: if it can start now."""
        now = self._monotonic()
        self._reject(self.queue.submit(pending, waiter, now), now)
        self._start_reviews()

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
            waiters = self.queue.finished(pending)
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
        self.metrics.reviewed(now - began, is_answered=isinstance(result, Review))
        if isinstance(result, ReviewFailure) and not result.about_token:
            self._note_error(result.why)
        else:  # a client's token must not make the API server look down
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
            self._respond(waiters, self._unavailable(self.queue.retry_after_seconds(now)))

    def _respond(self, waiters: Iterable[ResponseWaiter], response: AuthzResponse) -> None:
        for waiter in waiters:
            self._count(response)
            waiter(response)

    def _judge(self, pending: PendingReview, review: Review) -> AuthzResponse:
        """Return the response to a reviewed token, and cache it."""
        try:
            check_current(pending.claims, self._rules, self._clock.unix())
            check_review(pending.claims, review)
        except RefusedError as refused:
            response = self.responses.refused(refused.reason)
            self.cache.remove(pending.key)
            if refused.reason in (Reason.REVIEW_REFUSED, Reason.REVIEW_AUDIENCE):
                self.refusals.put(pending.key, self._monotonic() + REFUSED_SECONDS, response)
            self._note_refused(refused.reason, pending.token)
        else:
            response = self._accept(pending)
        return response

    def _note_refused(self, reason: Reason, token: str) -> None:
        if reason is not Reason.UNKNOWN:  # a closed gate has an event of its own
            self._audit.refused(reason, token)

    def _accept(self, pending: PendingReview) -> AuthzResponse:
        claims, monotonic = pending.claims, self._monotonic()
        user = claims.identity.user
        response = self._allowed.get(user)
        if response is None:
            response = self._allowed[user] = self.responses.allowed(claims.identity)
        left = claims.expires_unix - self._clock.unix()
        seconds = max(0.0, min(self._remember_seconds, left))
        if pending.key not in self._entries:
            self._audit.event(AuditEvent.ACCEPTED, Reason.ALLOWED, user=user, jti=claims.jti)
        entry = CachedDecision(
            response=response,
            fresh_until=monotonic + FRESH_SHARE * seconds,
            until=monotonic + seconds,
            secret=intern(claims.bound_uid),  # shared by all tokens that are bound to it
            account=intern(claims.service_account_uid),
            jti=claims.jti,
            namespace=intern(claims.namespace),
        )
        self.cache.put(pending.key, entry)
        return response

    def _remember_host(self, host: bytes) -> None:
        if len(host) > LIMIT_HOST_BYTES:
            return
        if len(self._known_hosts) >= LIMIT_HOSTS:  # one name, with thousands of ports
            self._known_hosts.clear()
        self._known_hosts.add(host)

    def _unavailable(self, retry_after_seconds: int) -> AuthzResponse:
        return self.responses.refused(Reason.UNKNOWN, retry_after_seconds)

    def _count(self, response: AuthzResponse) -> AuthzResponse:
        self.metrics.decisions[response.reason] += 1
        return response


async def _check_after(
    reading: asyncio.Future[None], check: Callable[[], AuthzResponse | None], waiter: ResponseWaiter
) -> None:
    await asyncio.wait([reading], timeout=WAIT_SECONDS)
    if (response := check()) is not None:
        waiter(response)
