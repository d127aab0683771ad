"""The authorizer: answers a request from its caches, or asks: for a TokenReview and, where a model
is meant, for SubjectAccessReviews.

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
from daypass.gate.authorizer.api_server import ACCESS_REVIEWS, TOKEN_REVIEWS
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import (
    AccessKey,
    CachedDecision,
    CachedResponse,
    DecisionCache,
    ExpiringCache,
)
from daypass.gate.authorizer.followers import Models
from daypass.gate.authorizer.questions import CachedAnswers, Question, Waiter
from daypass.gate.authorizer.served_gate import AuthzResponse, Destination, ServedGate, unavailable
from daypass.gate.signing_keys import WAIT_SECONDS, TokenVerifier, UnreadKeyError
from daypass.render.names import gate_prefix
from daypass.rules.claims import BoundClaims, CallerIdentity
from daypass.rules.decision import (
    GateRequest,
    RefusedError,
    TokenReview,
    check_claims,
    check_expiry_and_revocation,
    check_model,
    check_token_review,
)
from daypass.rules.models import Access
from daypass.rules.published import Published
from daypass.rules.reasons import Reason

FRESH_SHARE = 0.8
"""What is in use is reviewed again after this share of the time for which it is cached."""
SWEEP_EVERY_SECONDS = 1.0
PROBE_AFTER_SECONDS = 10.0
PROBE_TOKEN = "e30.e30.e30"  # noqa: S105 - `{}` thrice, which every API server refuses
LIMIT_ROUNDS = 4
"""How often the models that a request may mean are looked up, if they change while it waits."""
_NAME_AT = gate_prefix("").index("//") + 1

AskToken: TypeAlias = Callable[[str, str], Awaitable[TokenReview]]
"""Asks about a token, for an audience. Raises NoAnswerError."""
AskAccess: TypeAlias = Callable[[CallerIdentity, Access], Awaitable[bool]]
Later: TypeAlias = Coroutine[None, None, AuthzResponse]


class Authorizer:
    """Answers requests. `take_published` replaces `published` of the gates' rules, `take_models`
    what is known of the models that exist.

    `verifier`: for gates whose proxy has not verified the tokens. `closed`: which shards of the
    published set are missing or out of date.
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
        self.tokens: CachedAnswers[bytes, CachedDecision]
        self.tokens = CachedAnswers(TOKEN_REVIEWS, self.cache, clock, audit)
        self.accesses: CachedAnswers[AccessKey, CachedResponse]
        self.accesses = CachedAnswers(ACCESS_REVIEWS, ExpiringCache(), clock, audit)
        self.published_at: float | None = None
        self._ask_token = ask_token
        self._ask_access = ask_access
        self._audit = audit
        self._verifier = verifier
        self._clock = clock
        self._monotonic = clock.monotonic
        self._by_prefix = {gate_prefix(each.name).encode(): each for each in gates}
        self._entries = self.cache.entries
        self._access_entries = self.accesses.allowed.entries
        published = self.published
        self.closed = frozenset() if published is None else published.closed_shards(clock.unix())
        self._swept_at = self._probed_at = clock.monotonic()

    def look_up(
        self, target: bytes, host: bytes, authorization: bytes, *, model_header: bool = False
    ) -> AuthzResponse | None:
        """Return the response to a request that passes from the caches; otherwise call `ask`.

        Nearly every request needs nothing else. `target`: the gate's `gate_prefix`, and the path
        that the client asks for. `model_header`: whether a header selects the model.
        """
        end = target.find(b"/", _NAME_AT) + 1
        prefix = target[:end]
        gate = self._by_prefix.get(prefix)
        entry = self._entries.get(sha256(prefix + authorization).digest())
        if gate is None or entry is None or (now := self._monotonic()) >= entry.fresh_until:
            return None
        destination = gate.destinations.look_up(host, target[end:], model_header=model_header)
        if destination is None or entry.audience not in destination.audiences:
            return None
        if destination.may_mean_models and not self._may_use(destination, entry, now):
            return None
        gate.metrics.passed += 1
        return entry.response

    def _may_use(self, destination: Destination, entry: CachedDecision, now: float) -> bool:
        """Return whether it is cached that a caller may use all models that a request means."""
        gate, user, allowed = entry.gate, entry.response.user, self._access_entries
        if now >= gate.destinations.models_until or destination.accesses == ():
            return False
        for access in destination.accesses or ():
            found = allowed.get((gate.name, user, access))
            if found is None or now >= found.fresh_until:
                return False
        return True

    def ask(
        self,
        target: bytes,
        host: bytes,
        authorizations: Sequence[bytes],
        *,
        source: str,
        model_header: bool,
    ) -> AuthzResponse | Later:
        """Return the response that `look_up` has not, at once if the claims are refused.

        `authorizations`: the values of all Authorization headers. `source`: the client's address.
        """
        end = target.find(b"/", _NAME_AT) + 1
        prefix, path = target[:end], target[end:]
        gate = self._by_prefix.get(prefix)
        if gate is None:
            return unavailable(1)
        request = GateRequest(
            host=host.decode("latin-1"),
            path=path.decode("latin-1"),
            authorizations=tuple(value.decode("latin-1") for value in authorizations),
            model_header=model_header,
        )
        verifier = None if gate.is_verified else self._verifier
        signed = (lambda _: None) if verifier is None else verifier.is_signed
        try:
            claims = check_claims(request, gate.rules, self._clock.unix(), signed=signed)
        except UnreadKeyError as unknown:
            ask = partial(self.ask, source=source, model_header=model_header)
            return _ask_after(unknown.reading, partial(ask, target, host, authorizations))
        except RefusedError as refused:
            first = next(iter(request.authorizations), "")
            return _counted(gate, self._refusal(gate, refused.reason, first))
        authorization = next(filter(None, authorizations))  # the one that has been checked
        key = sha256(prefix + authorization).digest()
        token = authorization.removeprefix(b"Bearer ").decode("ascii")
        return self._decide(gate, claims, key, token, (host, path), source)

    async def _decide(
        self,
        gate: ServedGate,
        claims: BoundClaims,
        key: bytes,
        token: str,
        host_and_path: tuple[bytes, bytes],
        source: str,
    ) -> AuthzResponse:
        """Return the response to a request whose claims have been checked. `key`: of its token in
        the cache. `host_and_path`: the host and the path that it asks for.
        """
        ask = partial(self._review_token, gate, claims, key, token, source)
        metrics = gate.metrics.token_reviews
        question = Question(key=key, source=source, ask=ask, metrics=metrics)
        response = self.tokens.look_up(key, question) or await self.tokens.review(question)
        if response.reason is Reason.ALLOWED:
            try:
                response = await self._check_models(gate, claims, host_and_path, source, response)
            except RefusedError as refused:
                response = self._refusal(gate, refused.reason, token)
        return _counted(gate, response)

    async def _check_models(
        self,
        gate: ServedGate,
        claims: BoundClaims,
        host_and_path: tuple[bytes, bytes],
        source: str,
        allowed: AuthzResponse,
    ) -> AuthzResponse:
        """Return the response to a request whose token is allowed. Raises RefusedError."""
        for _ in range(LIMIT_ROUNDS):  # anything may have changed while it waited
            check_expiry_and_revocation(claims, gate.rules, self._clock.unix())
            destination = gate.destinations.find(*host_and_path)
            if destination.may_mean_models and self._monotonic() >= gate.destinations.models_until:
                return unavailable(1)
            if (accesses := destination.accesses) is None:
                return allowed
            if not accesses:
                self._note_no_model(gate, claims.identity, "")
            may, waiters = dict[Access, bool](), list[Waiter]()
            for access in accesses:
                key, question = self._access_question(gate, claims.identity, access, source)
                if (response := self.accesses.look_up(key, question)) is None:
                    waiters.append(self.accesses.review(question))
                else:
                    may[access] = response.reason is Reason.ALLOWED
            if not waiters or False in may.values():
                check_model(accesses, may.get)
                return allowed
            for waiter in waiters:
                if (response := await waiter).reason is Reason.UNKNOWN:
                    return response
        return unavailable(1)

    def _access_question(
        self, gate: ServedGate, identity: CallerIdentity, access: Access, source: str
    ) -> tuple[AccessKey, Question]:
        key = gate.name, identity.user, access
        ask = partial(self._review_access, gate, identity, access)
        metrics = gate.metrics.access_reviews
        return key, Question(key=key, source=source, ask=ask, metrics=metrics)

    async def _review_token(
        self,
        gate: ServedGate,
        claims: BoundClaims,
        key: bytes,
        token: str,
        source: str,
        asked_at: float,
    ) -> AuthzResponse:
        """Ask about a token whose claims have been checked, and cache the result."""
        review = await self._ask_token(token, claims.audience)
        try:
            check_expiry_and_revocation(claims, gate.rules, self._clock.unix())
            check_token_review(claims, review)
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
            asked_at + gate.cache_ttl_seconds,
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
    ) -> AuthzResponse:
        """Ask whether a caller has an access, and cache the result."""
        is_allowed = await self._ask_access(identity, access)
        if is_allowed and access.exists:
            response = gate.responses.allowed(identity)
            until = asked_at + gate.cache_ttl_seconds
            fresh_until = _fresh_until(asked_at, until)
            entry = CachedResponse(response=response, fresh_until=fresh_until, until=until)
            # One text for all entries of a user.
            self.accesses.allowed.put((gate.name, response.user, access), entry)
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
        that are no longer used, or whose shard of the set has closed. Call it often.
        """
        now = self._monotonic()
        self._forget_closed()
        self.tokens.tick()
        self.accesses.tick()
        if now - self._swept_at >= SWEEP_EVERY_SECONDS:
            self._swept_at = now
            self.cache.sweep(now)
            self.accesses.allowed.sweep(now)

    def needs_probe(self) -> bool:
        """Return whether there has been no TokenReview for a while."""
        heard_at = max(self.tokens.heard_at or 0.0, self._probed_at)
        return self._monotonic() - heard_at > PROBE_AFTER_SECONDS

    def probe(self) -> Waiter:
        """Ask about a token that is none, to see whether the API server answers."""
        gate, self._probed_at = self.gates[0], self._monotonic()

        async def ask(_: float) -> AuthzResponse:
            await self._ask_token(PROBE_TOKEN, gate.rules.audience)
            return unavailable(1)

        metrics = gate.metrics.token_reviews
        return self.tokens.review(Question(key=b"", source="", ask=ask, metrics=metrics))

    async def stop(self) -> None:
        """Cancel all reviews, after the end of all connections."""
        await self.tokens.stop()
        await self.accesses.stop()

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


async def _ask_after(
    reading: asyncio.Future[None], ask: Callable[[], AuthzResponse | Later]
) -> AuthzResponse:
    await asyncio.wait([reading], timeout=WAIT_SECONDS)
    response = ask()
    return response if isinstance(response, AuthzResponse) else await response
