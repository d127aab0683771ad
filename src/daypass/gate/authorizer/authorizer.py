"""The authorizer: answers a request from its caches, or after a TokenReview and, where it asks for
a model, SubjectAccessReviews.

It runs in one event loop and is not safe to share between threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from sys import intern

from daypass._core.clock import Clock
from daypass.gate.authorizer.audit_log import AuditEvent, AuditLog
from daypass.gate.authorizer.decision_cache import (
    AccessKey,
    CachedAccess,
    CachedDecision,
    Closed,
    DecisionCache,
    ExpiringCache,
    RefusalCache,
)
from daypass.gate.authorizer.destinations import Key
from daypass.gate.authorizer.models import Models
from daypass.gate.authorizer.responses import AuthzResponse, unavailable
from daypass.gate.authorizer.reviewer import (
    AccessQuestion,
    AskAccess,
    AskToken,
    Question,
    ResponseWaiter,
    Reviewer,
    TokenQuestion,
)
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.signing_keys import WAIT_SECONDS, TokenVerifier, UnreadKeyError
from daypass.render.envoy.authorizer_filters import gate_prefix
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
from daypass.rules.published import Published
from daypass.rules.reasons import Reason

REFUSED_SECONDS = 5.0
"""How long a refusal by the API server is cached: a Secret or a RoleBinding may be seconds old, and
unknown to the replica that answered."""
LIMIT_REFUSALS = 10_000
FRESH_SHARE = 0.8
"""What is in use is reviewed again after this share of the time for which it is cached."""
AGAIN_SECONDS = 2.0
TICK_SECONDS = 0.05
SWEEP_EVERY_SECONDS = 1.0
STALLED_SECONDS = 10.0
LIMIT_ROUNDS = 3
"""How often the models that a request may mean are looked up, if they change while it waits."""
_NAME_AT = gate_prefix("").index("//") + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthzRequest:
    """What Envoy asks. `target`: the gate's `gate_prefix`, and the path that the client asks for.
    `authorizations`: the values of all Authorization headers. `source`: the client's address.
    `model_header`: whether a header selects the model.
    """

    target: bytes
    host: bytes
    authorizations: Sequence[bytes]
    source: str
    model_header: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """A request whose claims have been checked. `key`: of its token in the caches. `destination`:
    the key of what it asks for.
    """

    gate: ServedGate
    claims: BoundClaims
    key: bytes
    destination: Key
    source: str
    waiter: ResponseWaiter


class Authorizer:
    """Answers requests. `take_published` replaces `published` of the gates' rules, `take_models`
    what is known of the models that exist.

    From `start` to `stop` it also sends a probe when there has been no review for a while.
    `verifier`: for gates whose proxy has not verified the tokens. `lost`: how many requests named
    no gate. `closed`: what of the published set is.
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
        self.accesses: ExpiringCache[AccessKey, CachedAccess] = ExpiringCache()
        self.refusals: RefusalCache[bytes | AccessKey]
        self.refusals = RefusalCache(limit_entries=LIMIT_REFUSALS)
        self.reviewer = Reviewer(ask_token, ask_access, self._judge, clock, audit)
        self.lost = 0
        self.published_at: float | None = None
        self._audit = audit
        self._verifier = verifier
        self._clock = clock
        self._monotonic = clock.monotonic
        self._models = Models()
        self._by_prefix = {gate_prefix(each.name).encode(): each for each in gates}
        self._entries = self.cache.entries
        self._access_entries = self.accesses.entries
        self.closed = self._read_closed()
        self._ticker: asyncio.Task[None] | None = None
        self._ticked_at = self._swept_at = clock.monotonic()

    async def start(self) -> None:
        """Send a first probe, and go on in the background."""
        await self.reviewer.probe(self.gates[0])
        self._ticked_at = self._monotonic()
        self._ticker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel all reviews, after `reviewer.reject_waiting` and the end of all connections."""
        tasks = [*self.reviewer.tasks, *([] if self._ticker is None else [self._ticker])]
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

        Nearly every request needs nothing else. For the arguments, see AuthzRequest.
        """
        end = target.find(b"/", _NAME_AT) + 1
        prefix = target[:end]
        gate = self._by_prefix.get(prefix)
        entry = self._entries.get(sha256(prefix + authorization).digest())
        if gate is None or entry is None:
            return None
        destinations, now = gate.destinations, self._monotonic()
        if now >= entry.fresh_until or (model_header and destinations.reads_paths):
            return None
        key = destinations.key(host, target[end:])
        if key is None:
            return None
        destination = destinations.known.get(key)
        if destination is None or entry.audience not in destination.audiences:
            return None
        if destination.has_readings:
            accesses = destination.accesses
            if now >= gate.models_until or accesses == ():
                return None
            name, user, allowed = gate.name, entry.response.user, self._access_entries
            for access in accesses or ():
                found = allowed.get((name, user, access))
                if found is None or now >= found.fresh_until:
                    return None
        gate.metrics.passed += 1
        return entry.response

    def check(self, request: AuthzRequest, waiter: ResponseWaiter) -> AuthzResponse | None:
        """Return the response that `cached` has not, or None: then `waiter` gets it later."""
        end = request.target.find(b"/", _NAME_AT) + 1
        gate = self._by_prefix.get(request.target[:end])
        if gate is None:
            self.lost += 1
            return unavailable(1)

        def counted(response: AuthzResponse) -> None:
            waiter(_count(gate, response))

        response = self._check(gate, end, request, counted)
        return None if response is None else _count(gate, response)

    def take_published(self, published: Published) -> None:
        """Refuse from now on what this no longer has. Call it on the event loop's thread."""
        before = self.published
        for gate in self.gates:
            gate.rules = replace(gate.rules, published=published)
        self._forget_closed()  # first: what a closed part does not have may exist
        self._forget_refused(before or published, published)
        self.published_at = self._monotonic()

    def take_models(self, models: Models) -> None:
        """Read hosts and paths by these models from now on. Call it on the event loop's thread."""
        have_changed = models.names is not self._models.names
        self._models = models
        for gate in self.gates:
            gate.take_models(models, have_changed=have_changed)

    @property
    def published(self) -> Published | None:
        """What it has taken last; None if it checks no credentials."""
        return self.gates[0].rules.published

    def tick(self) -> None:
        """Reject requests that waited too long, start what may start now, and forget decisions
        that are no longer used, or whose part of the set has closed.
        """
        now = self._ticked_at = self._monotonic()
        self._forget_closed()
        self.reviewer.tick()
        if now - self._swept_at >= SWEEP_EVERY_SECONDS:
            self._swept_at = now
            self.cache.sweep(now)
            self.accesses.sweep(now)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()
            self.reviewer.probe_if_quiet(self.gates[0])

    def _check(
        self, gate: ServedGate, end: int, request: AuthzRequest, waiter: ResponseWaiter
    ) -> AuthzResponse | None:
        authorizations, path = request.authorizations, request.target[end:]
        values = tuple(value.decode("latin-1") for value in authorizations)
        question = GateRequest(
            host=request.host.decode("latin-1"),
            path=path.decode("latin-1"),
            authorizations=values,
            model_header=request.model_header,
        )
        verifier = None if gate.is_verified else self._verifier
        signed = (lambda _: None) if verifier is None else verifier.is_signed
        try:
            claims = check_claims(question, gate.rules, self._clock.unix(), signed=signed)
            destination = gate.destinations.key(request.host, path)
            if destination is None:  # a second look at what has been checked
                raise RefusedError(Reason.AMBIGUOUS)
        except UnreadKeyError as unknown:
            again = partial(self._check, gate, end, request, waiter)
            self.reviewer.start(_check_after(unknown.reading, again, waiter))
            return None
        except RefusedError as refused:
            self._note_refused(gate, refused.reason, values[0] if values else "")
            return gate.responses.refused(refused.reason)
        authorization = next(filter(None, authorizations))  # the one that has been checked
        key = sha256(request.target[:end] + authorization).digest()
        caller = _Caller(
            gate=gate,
            claims=claims,
            key=key,
            destination=destination,
            source=request.source,
            waiter=waiter,
        )
        response = self._check_token(caller, authorization)
        if response is None or response.reason is not Reason.ALLOWED:
            return response
        return self._check_models(caller, response, LIMIT_ROUNDS)

    def _check_token(self, caller: _Caller, authorization: bytes) -> AuthzResponse | None:
        """Return the response to its token, or None: `_go_on` gets it later."""
        now, metrics = self._monotonic(), caller.gate.metrics
        entry = self._entries.get(caller.key)
        is_cached = entry is not None and now < entry.until
        if not is_cached and (refusal := self.refusals.get(caller.key, now)) is not None:
            metrics.cached_refusals += 1
            return refusal
        question = TokenQuestion(
            gate=caller.gate,
            key=caller.key,
            token=authorization.removeprefix(b"Bearer ").decode("ascii"),
            claims=caller.claims,
        )
        if entry is not None and is_cached:
            if now >= entry.fresh_until:
                entry.fresh_until = min(now + AGAIN_SECONDS, entry.until)
                self.reviewer.submit(question, caller.source, None)
            metrics.cache_hits += 1
            return entry.response
        metrics.cache_misses += 1
        self.reviewer.submit(question, caller.source, partial(self._go_on, caller, LIMIT_ROUNDS))
        return None

    def _go_on(self, caller: _Caller, rounds: int, response: AuthzResponse) -> None:
        """Respond to a request that has waited for a review: to what it is refused, or to the rest
        of it. Anything may have changed.
        """
        final: AuthzResponse | None = response
        if response.reason is Reason.ALLOWED:
            try:
                check_current(caller.claims, caller.gate.rules, self._clock.unix())
                final = self._check_models(caller, response, rounds)
            except RefusedError as refused:
                final = caller.gate.responses.refused(refused.reason)
        if final is not None:
            caller.waiter(final)

    def _check_models(
        self, caller: _Caller, allowed: AuthzResponse, rounds: int
    ) -> AuthzResponse | None:
        """Return the response to a request whose token is allowed; None: `caller.waiter` gets it
        later.
        """
        gate, now = caller.gate, self._monotonic()
        destination = gate.destinations.find(caller.destination, self._models)
        if destination.has_readings and now >= gate.models_until:
            return unavailable(1)
        if (accesses := destination.accesses) is None:
            return allowed
        known = {access: self._is_allowed(caller, access, now) for access in accesses}
        missing = [access for access, is_allowed in known.items() if is_allowed is None]
        try:
            check_model(accesses, known.get)
        except RefusedError as refused:
            if refused.reason is not Reason.UNKNOWN or not missing or not rounds:
                if not accesses:
                    self._note_no_model(gate, caller.claims.identity, "")
                return gate.responses.refused(refused.reason)
            self._review(caller, missing, partial(self._go_on, caller, rounds - 1))
            return None
        return allowed

    def _is_allowed(self, caller: _Caller, access: Access, now: float) -> bool | None:
        """Return what the caches have on an access; None: nothing."""
        question = _access_question(caller, access)
        entry = self._access_entries.get(question.key)
        if entry is None or now >= entry.until:
            return None if self.refusals.get(question.key, now) is None else False
        if now >= entry.fresh_until:
            entry.fresh_until = min(now + AGAIN_SECONDS, entry.until)
            self.reviewer.submit(question, caller.source, None)
        return True

    def _review(self, caller: _Caller, accesses: Sequence[Access], waiter: ResponseWaiter) -> None:
        """Review all accesses at once; `waiter` gets the first refusal, or the last response."""
        left = set(accesses)

        def answered(access: Access, response: AuthzResponse) -> None:
            if not left:
                return
            left.discard(access)
            if response.reason is not Reason.ALLOWED:
                left.clear()
            if not left:
                waiter(response)

        for access in accesses:
            if left:
                question = _access_question(caller, access)
                self.reviewer.submit(question, caller.source, partial(answered, access))

    def _judge(self, question: Question, result: Review | bool, asked_at: float) -> AuthzResponse:
        """Return the response to a question with this result, and cache it."""
        if isinstance(question, AccessQuestion):
            return self._judge_access(question, asked_at, is_allowed=result is True)
        assert isinstance(result, Review)  # noqa: S101 - the result of a TokenQuestion
        gate, claims = question.gate, question.claims
        try:
            check_current(claims, gate.rules, self._clock.unix())
            check_review(claims, result)
        except RefusedError as refused:
            response = gate.responses.refused(refused.reason)
            self.cache.remove(question.key)
            if refused.reason in (Reason.REVIEW_REFUSED, Reason.REVIEW_AUDIENCE):
                self.refusals.put(question.key, self._monotonic() + REFUSED_SECONDS, response)
            self._note_refused(gate, refused.reason, question.token)
            return response
        return self._accept(question, asked_at)

    def _accept(self, question: TokenQuestion, asked_at: float) -> AuthzResponse:
        gate, claims, now = question.gate, question.claims, self._monotonic()
        response = gate.allowed(claims.identity)
        if question.key not in self._entries:
            user = response.user
            self._audit.event(
                AuditEvent.ACCEPTED, Reason.ALLOWED, gate=gate.name, user=user, jti=claims.jti
            )
        # What was true when it was asked; the token itself expires by the clock.
        until = min(
            asked_at + gate.remember_seconds, now + claims.expires_unix - self._clock.unix()
        )
        entry = CachedDecision(
            gate=gate,
            response=response,
            fresh_until=_fresh_until(asked_at, until),
            until=until,
            audience=intern(claims.audience),
            credential=intern(claims.credential_uid),  # shared by all tokens that are bound to it
            bound=intern(claims.bound_uid),
            account=intern(claims.service_account_uid),
            jti=claims.jti,
            namespace=intern(claims.namespace),
        )
        self.cache.put(question.key, entry)
        return response

    def _judge_access(
        self, question: AccessQuestion, asked_at: float, *, is_allowed: bool
    ) -> AuthzResponse:
        gate, key = question.gate, question.key
        if is_allowed:
            until = asked_at + gate.remember_seconds
            fresh_until = _fresh_until(asked_at, until)
            response = gate.allowed(question.identity)
            key = gate.name, response.user, question.access  # one text for all entries of a user
            self.accesses.put(key, CachedAccess(fresh_until=fresh_until, until=until))
            return response
        self.accesses.remove(key)
        response = gate.responses.refused(Reason.MODEL)
        self.refusals.put(key, self._monotonic() + REFUSED_SECONDS, response)
        resource, namespace, name = question.access.model
        self._note_no_model(gate, question.identity, f"{resource} {namespace}/{name}")
        return response

    def _forget_refused(self, before: Published, after: Published) -> None:
        """Forget the decisions on credentials that no longer exist or are denied."""
        for entry, reason in self.cache.remove_refused(before, after):
            gate, user = entry.gate, entry.response.user
            self._audit.event(AuditEvent.REVOKED, reason, gate=gate.name, user=user, jti=entry.jti)
            gate.metrics.evicted += 1

    def _forget_closed(self) -> None:
        """Forget the decisions of what has closed."""
        before = self.closed
        if (published := self.published) is None or (closed := self._read_closed()) == before:
            return
        self.closed = closed
        for entry in self.cache.remove_closed(closed, parts=len(published.parts)):
            entry.gate.metrics.evicted += 1
        if closed.parts - before.parts:
            self._audit.event(AuditEvent.CLOSED, Reason.UNKNOWN, parts=len(closed.parts))
        elif not closed.parts:
            self._audit.event(AuditEvent.OPENED, Reason.ALLOWED)

    def _read_closed(self) -> Closed:
        published, now = self.published, self._clock.unix()
        if published is None:
            return Closed()
        parts, are_denials = published.closed_parts(now), published.denials.is_closed(now)
        return Closed(parts=parts, are_denials=are_denials)

    def _note_no_model(self, gate: ServedGate, identity: CallerIdentity, model: str) -> None:
        fields = {"gate": gate.name, "user": identity.user, "model": model}
        self._audit.event(AuditEvent.MODEL_REFUSED, Reason.MODEL, **fields)

    def _note_refused(self, gate: ServedGate, reason: Reason, authorization: str) -> None:
        if reason is not Reason.UNKNOWN:  # a closed gate has an event of its own
            self._audit.refused(gate.name, reason, authorization.removeprefix("Bearer "))


def _count(gate: ServedGate, response: AuthzResponse) -> AuthzResponse:
    gate.metrics.decisions[response.reason] += 1
    return response


def _access_question(caller: _Caller, access: Access) -> AccessQuestion:
    return AccessQuestion(gate=caller.gate, identity=caller.claims.identity, access=access)


def _fresh_until(since: float, until: float) -> float:
    return since + FRESH_SHARE * (until - since)


async def _check_after(
    reading: asyncio.Future[None], check: Callable[[], AuthzResponse | None], waiter: ResponseWaiter
) -> None:
    await asyncio.wait([reading], timeout=WAIT_SECONDS)
    if (response := check()) is not None:
        waiter(response)
