"""The authorizer: answers a request from its caches, or after a TokenReview and, where it asks for
a model, SubjectAccessReviews.

It runs in one event loop and is not safe to share between threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from sys import intern
from typing import TypeAlias

from daypass._core.clock import Clock
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import (
    AccessKey,
    CachedDecision,
    CachedResponse,
    DecisionCache,
    ExpiringCache,
)
from daypass.gate.authorizer.models import Models
from daypass.gate.authorizer.responses import AuthzResponse, unavailable
from daypass.gate.authorizer.review_client import ReviewFailure
from daypass.gate.authorizer.reviewer import Reviewer, Waiter
from daypass.gate.authorizer.reviews import ACCESS_REVIEWS, TOKEN_REVIEWS
from daypass.gate.authorizer.served_gate import Key, ServedGate
from daypass.gate.signing_keys import WAIT_SECONDS, TokenVerifier, UnreadKeyError
from daypass.render.names import gate_prefix
from daypass.rules.claims import BoundClaims, CallerIdentity
from daypass.rules.decision import (
    GateRequest,
    RefusedError,
    Review,
    check_claims,
    check_current,
    check_model,
    check_review,
)
from daypass.rules.models import Access
from daypass.rules.patterns import is_plain_path
from daypass.rules.published import Published
from daypass.rules.reasons import Reason

FRESH_SHARE = 0.8
"""What is in use is reviewed again after this share of the time for which it is cached."""
TICK_SECONDS = 0.05
SWEEP_EVERY_SECONDS = 1.0
STALLED_SECONDS = 10.0
PROBE_AFTER_SECONDS = 10.0
PROBE_TOKEN = "e30.e30.e30"  # noqa: S105 - `{}` thrice, which every API server refuses
LIMIT_ROUNDS = 4
"""How often the models that a request may mean are looked up, if they change while it waits."""
_NAME_AT = gate_prefix("").index("//") + 1

AskToken: TypeAlias = Callable[[str, str], Awaitable[Review | ReviewFailure]]
"""Asks about a token, for an audience."""
AskAccess: TypeAlias = Callable[[CallerIdentity, Access], Awaitable[bool | ReviewFailure]]
Later: TypeAlias = Coroutine[None, None, AuthzResponse]


class Authorizer:
    """Answers requests. `take_published` replaces `published` of the gates' rules, `take_models`
    what is known of the models that exist.

    From `start` to `stop` it also sends a probe when there has been no TokenReview for a while.
    `verifier`: for gates whose proxy has not verified the tokens. `lost`: how many requests named
    no gate. `closed`: which shards of the published set are missing or out of date.
    """

    def __init__(
        self,
        gates: Sequence[ServedGate],
        ask_token: AskToken,
        ask_access: AskAccess,
        clock: Clock,
        *,
        audit: AuditLog,
        verifier: TokenVerifier | None,
    ) -> None:
        self.gates = gates
        self.cache = DecisionCache()
        self.tokens: Reviewer[bytes, CachedDecision]
        self.tokens = Reviewer(TOKEN_REVIEWS, self.cache, clock, audit)
        self.accesses: Reviewer[AccessKey, CachedResponse]
        self.accesses = Reviewer(ACCESS_REVIEWS, ExpiringCache(), clock, audit)
        self.lost = 0
        self.published_at: float | None = None
        self._ask_token = ask_token
        self._ask_access = ask_access
        self._audit = audit
        self._verifier = verifier
        self._clock = clock
        self._monotonic = clock.monotonic
        self._by_prefix = {gate_prefix(each.name).encode(): each for each in gates}
        self._entries = self.cache.entries
        self._access_entries = self.accesses.cache.entries
        published = self.published
        self.closed = frozenset() if published is None else published.closed_shards(clock.unix())
        self._ticker: asyncio.Task[None] | None = None
        self._ticked_at = self._swept_at = self._probed_at = clock.monotonic()

    async def start(self) -> None:
        """Send a first probe, and go on in the background."""
        await self._probe()
        self._ticked_at = self._monotonic()
        self._ticker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel all reviews, after the end of all connections."""
        tasks = [*self.tokens.tasks, *self.accesses.tasks]
        tasks += [] if self._ticker is None else [self._ticker]
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

    def cached(
        self, target: bytes, host: bytes, authorization: bytes, *, model_header: bool = False
    ) -> AuthzResponse | None:
        """Return the response to a request that passes from the caches; otherwise call `check`.

        Nearly every request needs nothing else. `target`: the gate's `gate_prefix`, and the path
        that the client asks for. `model_header`: whether a header selects the model.
        """
        end = target.find(b"/", _NAME_AT) + 1
        prefix = target[:end]
        gate = self._by_prefix.get(prefix)
        entry = self._entries.get(sha256(prefix + authorization).digest())
        if gate is None or entry is None:
            return None
        destinations, now = gate.destinations, self._monotonic()
        if now >= entry.fresh_until:
            return None
        path = target[end:]
        if destinations.reads_paths and (model_header or not is_plain_path(path.decode("latin-1"))):
            return None
        destination = destinations.known.get(destinations.key(host, path))
        if destination is None or entry.audience not in destination.audiences:
            return None
        if destination.has_readings:
            accesses = destination.accesses
            if now >= destinations.models_until or accesses == ():
                return None
            name, user, allowed = gate.name, entry.response.user, self._access_entries
            for access in accesses or ():
                found = allowed.get((name, user, access))
                if found is None or now >= found.fresh_until:
                    return None
        gate.metrics.passed += 1
        return entry.response

    def check(
        self,
        target: bytes,
        host: bytes,
        authorizations: Sequence[bytes],
        *,
        source: str,
        model_header: bool,
    ) -> AuthzResponse | Later:
        """Return the response that `cached` has not, at once if the claims are refused.

        `authorizations`: the values of all Authorization headers. `source`: the client's address.
        """
        end = target.find(b"/", _NAME_AT) + 1
        prefix, path = target[:end], target[end:]
        gate = self._by_prefix.get(prefix)
        if gate is None:
            self.lost += 1
            return unavailable(1)
        question = GateRequest(
            host=host.decode("latin-1"),
            path=path.decode("latin-1"),
            authorizations=tuple(value.decode("latin-1") for value in authorizations),
            model_header=model_header,
        )
        verifier = None if gate.is_verified else self._verifier
        signed = (lambda _: None) if verifier is None else verifier.is_signed
        try:
            claims = check_claims(question, gate.rules, self._clock.unix(), signed=signed)
        except UnreadKeyError as unknown:
            check = partial(self.check, source=source, model_header=model_header)
            return _check_after(unknown.reading, partial(check, target, host, authorizations))
        except RefusedError as refused:
            first = next(iter(question.authorizations), "")
            return _counted(gate, self._refusal(gate, refused.reason, first))
        authorization = next(filter(None, authorizations))  # the one that has been checked
        key = sha256(prefix + authorization).digest()
        token = authorization.removeprefix(b"Bearer ").decode("ascii")
        destination = gate.destinations.key(host, path)
        return self._decide(gate, claims, key, token, destination, source)

    async def _decide(
        self,
        gate: ServedGate,
        claims: BoundClaims,
        key: bytes,
        token: str,
        destination: Key,
        source: str,
    ) -> AuthzResponse:
        """Return the response to a request whose claims have been checked. `key`: of its token in
        the cache. `destination`: the key of what it asks for.
        """
        ask = partial(self._review_token, gate, claims, key, token, source)
        answer = self.tokens.answer(key, source, ask, gate.metrics.token_reviews)
        response = answer if isinstance(answer, AuthzResponse) else await answer
        if response.reason is Reason.ALLOWED:
            try:
                response = await self._check_models(gate, claims, destination, source, response)
            except RefusedError as refused:
                response = self._refusal(gate, refused.reason, token)
        return _counted(gate, response)

    async def _check_models(
        self,
        gate: ServedGate,
        claims: BoundClaims,
        key: Key,
        source: str,
        allowed: AuthzResponse,
    ) -> AuthzResponse:
        """Return the response to a request whose token is allowed. Raises RefusedError."""
        for _ in range(LIMIT_ROUNDS):  # anything may have changed while it waited
            check_current(claims, gate.rules, self._clock.unix())
            destination = gate.destinations.find(key)
            if destination.has_readings and self._monotonic() >= gate.destinations.models_until:
                return unavailable(1)
            if (accesses := destination.accesses) is None:
                return allowed
            if not accesses:
                self._note_no_model(gate, claims.identity, "")
            answers = {each: self._access(gate, claims, each, source) for each in accesses}
            known = {
                access: each.reason is Reason.ALLOWED
                for access, each in answers.items()
                if isinstance(each, AuthzResponse)
            }
            if len(known) == len(answers) or False in known.values():
                check_model(accesses, known.get)
                return allowed
            for each in answers.values():
                if not isinstance(each, AuthzResponse) and (await each).reason is Reason.UNKNOWN:
                    return each.result()
        return unavailable(1)

    def _access(
        self, gate: ServedGate, claims: BoundClaims, access: Access, source: str
    ) -> AuthzResponse | Waiter:
        """Return the response to a request that needs this access alone, or what gets it."""
        identity = claims.identity
        key = gate.name, identity.user, access
        ask = partial(self._review_access, gate, identity, access)
        return self.accesses.answer(key, source, ask, gate.metrics.access_reviews)

    async def _review_token(
        self,
        gate: ServedGate,
        claims: BoundClaims,
        key: bytes,
        token: str,
        source: str,
        asked_at: float,
    ) -> AuthzResponse | ReviewFailure:
        """Ask about a token whose claims have been checked, and cache the result."""
        review = await self._ask_token(token, claims.audience)
        if isinstance(review, ReviewFailure):
            return review
        try:
            check_current(claims, gate.rules, self._clock.unix())
            check_review(claims, review)
        except RefusedError as refused:
            response = self._refusal(gate, refused.reason, token)
            self.cache.remove(key)
            if refused.reason in (Reason.REVIEW_REFUSED, Reason.REVIEW_AUDIENCE):
                self.tokens.refuse(key, response)
            return response
        response = gate.responses.allowed(claims.identity)
        if key not in self._entries:
            self._audit.event(
                AuditEvent.ACCEPTED, Reason.ALLOWED, gate=gate.name, user=response.user,
                jti=claims.jti, client=source,
            )  # fmt: skip
        # What was true when it was asked; the token itself expires by the clock.
        until = min(
            asked_at + gate.remember_seconds,
            self._monotonic() + claims.expires_unix - self._clock.unix(),
        )
        entry = CachedDecision(
            gate=gate,
            response=response,
            fresh_until=_fresh_until(asked_at, until),
            until=until,
            audience=intern(claims.audience),
            credential=intern(claims.credential),
            bound=intern(claims.bound_uid),  # one text for all tokens that are bound to it
            account=intern(claims.service_account_uid),
            jti=claims.jti,
            namespace=intern(claims.namespace),
        )
        self.cache.put(key, entry)
        return response

    async def _review_access(
        self, gate: ServedGate, identity: CallerIdentity, access: Access, asked_at: float
    ) -> AuthzResponse | ReviewFailure:
        """Ask whether a caller has an access, and cache the result."""
        is_allowed = await self._ask_access(identity, access)
        if isinstance(is_allowed, ReviewFailure):
            return is_allowed
        if is_allowed and access.exists:
            response = gate.responses.allowed(identity)
            until = asked_at + gate.remember_seconds
            fresh_until = _fresh_until(asked_at, until)
            entry = CachedResponse(response=response, fresh_until=fresh_until, until=until)
            # One text for all entries of a user.
            self.accesses.cache.put((gate.name, response.user, access), entry)
            return response
        response = gate.responses.refused(Reason.MODEL)
        self.accesses.refuse((gate.name, identity.user, access), response)
        self._note_no_model(gate, identity, str(access.model))
        return response

    def take_published(self, published: Published) -> None:
        """Refuse from now on what this no longer has. Call it on the event loop's thread."""
        before = self.published
        for gate in self.gates:
            gate.rules = replace(gate.rules, published=published)
        self._forget_closed()  # first: what a closed shard does not have may exist
        self._forget_refused(before or published, published)
        self.published_at = self._monotonic()

    def take_models(self, models: Models) -> None:
        """Read hosts and paths by these models from now on. Call it on the event loop's thread."""
        for gate in self.gates:
            gate.destinations.take_models(models)

    @property
    def published(self) -> Published | None:
        """What it has taken last; None if it checks no credentials."""
        return self.gates[0].rules.published

    def tick(self) -> None:
        """Reject requests that waited too long, start what may start now, and forget decisions
        that are no longer used, or whose shard of the set has closed.
        """
        now = self._ticked_at = self._monotonic()
        self._forget_closed()
        self.tokens.tick()
        self.accesses.tick()
        if now - self._swept_at >= SWEEP_EVERY_SECONDS:
            self._swept_at = now
            self.cache.sweep(now)
            self.accesses.cache.sweep(now)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()
            heard_at = max(self.tokens.heard_at or 0.0, self._probed_at)
            if self._ticked_at - heard_at > PROBE_AFTER_SECONDS:
                self._probe()

    def _probe(self) -> Waiter:
        """Ask about a token that is none, to see whether the API server answers."""
        gate, self._probed_at = self.gates[0], self._monotonic()

        async def ask(_: float) -> AuthzResponse | ReviewFailure:
            review = await self._ask_token(PROBE_TOKEN, gate.rules.audience)
            return review if isinstance(review, ReviewFailure) else unavailable(1)

        return self.tokens.review(b"", "", ask, gate.metrics.token_reviews)

    def _forget_refused(self, before: Published, after: Published) -> None:
        """Forget the decisions on credentials that no longer exist or are denied."""
        for entry, reason in self.cache.remove_refused(before, after):
            gate, user = entry.gate, entry.response.user
            self._audit.event(AuditEvent.REVOKED, reason, gate=gate.name, user=user, jti=entry.jti)
            gate.metrics.evicted += 1

    def _forget_closed(self) -> None:
        """Forget the decisions of what has closed."""
        before, published = self.closed, self.published
        if published is None:
            return
        now = self._clock.unix()
        self.closed = published.closed_shards(now)
        if self.closed == before and not published.denials.is_closed(now):
            return
        for entry in self.cache.remove_closed(published, now):
            entry.gate.metrics.evicted += 1
        if self.closed - before:
            self._audit.event(AuditEvent.CLOSED, Reason.UNKNOWN, shards=len(self.closed))
        elif before and not self.closed:
            self._audit.event(AuditEvent.OPENED, Reason.ALLOWED)

    def _note_no_model(self, gate: ServedGate, identity: CallerIdentity, model: str) -> None:
        fields = {"gate": gate.name, "user": identity.user, "model": model}
        self._audit.event(AuditEvent.MODEL_REFUSED, Reason.MODEL, **fields)

    def _refusal(self, gate: ServedGate, reason: Reason, authorization: str) -> AuthzResponse:
        """Return the refusal for a reason, after an event."""
        if reason not in (Reason.UNKNOWN, Reason.MODEL):  # they have events of their own
            self._audit.refused(gate.name, reason, authorization.removeprefix("Bearer "))
        return gate.responses.refused(reason)


def _counted(gate: ServedGate, response: AuthzResponse) -> AuthzResponse:
    gate.metrics.decisions[response.reason] += 1
    return response


def _fresh_until(since: float, until: float) -> float:
    return since + FRESH_SHARE * (until - since)


async def _check_after(
    reading: asyncio.Future[None], check: Callable[[], AuthzResponse | Later]
) -> AuthzResponse:
    await asyncio.wait([reading], timeout=WAIT_SECONDS)
    response = check()
    return response if isinstance(response, AuthzResponse) else await response
