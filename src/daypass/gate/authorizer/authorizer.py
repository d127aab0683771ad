"""The authorizer: what came is answered from memory, by the decision, or after a review.

It knows no socket and starts nothing by itself: `check` answers or keeps who waits, `next_question`
says whom to ask about, `reviewed` and `unreachable` bring what came of it. Not safe to share
between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TypeAlias
from weakref import WeakValueDictionary

from daypass._core.clock import Clock
from daypass._core.jwt import decode_unverified
from daypass._core.reasons import Reason
from daypass.config.exposure import bracketed
from daypass.gate.authorizer.decision_cache import (
    AuthzResponse,
    AuthzResponses,
    CachedDecision,
    DecisionCache,
    RefusalCache,
)
from daypass.gate.authorizer.metrics import AuditEvent, AuditLog, Metrics
from daypass.gate.authorizer.review_queue import PendingReview, ReviewQueue
from daypass.gate.decision import CallerIdentity, Decision, GateRequest, Review, Rules, decide
from daypass.render.envoy.filters import RevocationSnapshot

REFUSED_SECONDS = 5.0
"""For how long a refusal by the API server counts: a Secret may be seconds old, and unknown to the
replica that was asked."""
LIMIT_REFUSALS = 10_000
FRESH_SHARE = 0.8
"""A token in use is asked about again after this share of the time for which an answer counts."""
AGAIN_SECONDS = 2.0
LIMIT_HOSTS = 1_000
LIMIT_HOST_BYTES = 300
"""A name has 253 at most, and then a port; whatever follows a colon is one to Envoy."""

Waiter: TypeAlias = Callable[[AuthzResponse], None]


class Authorizer:
    """Answers requests. `rules`: their `denied` is replaced by what `take_revoked` is told.

    `remember_seconds`: how long the API server's good word for a token counts, at most.
    """

    def __init__(
        self,
        rules: Rules,
        answers: AuthzResponses,
        clock: Clock,
        *,
        remember_seconds: float,
        metrics: Metrics,
        audit: AuditLog,
        memory: DecisionCache | None = None,
        flights: ReviewQueue[Waiter] | None = None,
    ) -> None:
        self.metrics = metrics
        self.memory = memory or DecisionCache()
        self.refusals = RefusalCache(limit_entries=LIMIT_REFUSALS)
        self.flights: ReviewQueue[Waiter] = flights or ReviewQueue()
        self.is_closed = False
        self._rules = rules
        self._answers = answers
        self._audit = audit
        self._clock = clock
        self._monotonic = clock.monotonic
        self._remember_seconds = remember_seconds
        self._entries = self.memory.entries
        self._known_hosts: set[bytes] = set()
        self._revoked = RevocationSnapshot()
        self._shared: WeakValueDictionary[str, AuthzResponse] = WeakValueDictionary()

    def remembered(self, host: bytes, authorization: bytes) -> AuthzResponse | None:
        """The answer to a request that is let through from memory; None: ask `check`.

        This is all that happens for nearly every request.
        """
        entry = self._entries.get(sha256(authorization).digest())
        if (
            entry is None
            or self.is_closed
            or host not in self._known_hosts
            or self._monotonic() >= entry.fresh_until
        ):
            return None
        self.metrics.remembered += 1
        return entry.answer

    def check(
        self, host: bytes, authorizations: Sequence[bytes], source: str, waiter: Waiter
    ) -> AuthzResponse | None:
        """The answer to a request, or None: `waiter` gets it later.

        `authorizations`: the values of all Authorization headers. `source`: where it comes from.
        """
        if len(authorizations) == 1 and host in self._known_hosts:
            found = self.remembered(host, authorizations[0])
            if found is not None:
                return found
        request = _request(host, authorizations)
        decision = decide(request, self._rules, self._clock.unix())
        if decision.reason is not Reason.UNKNOWN:
            return self._refuse(decision, request)
        self._remember_host(host)
        if self.is_closed:
            return self._count(self._answers.refused(Reason.UNKNOWN))
        return self._from_review(authorizations[0], source, waiter)

    def take_revoked(self, revoked: RevocationSnapshot) -> None:
        """Refuse from now on what is on this list, and nothing that was on an older one alone."""
        old, self._revoked = self._revoked, revoked
        uids = revoked.secrets | revoked.service_accounts
        known = old.secrets | old.service_accounts
        denied = frozenset(uids | revoked.tokens | revoked.namespaces)
        self._rules = replace(self._rules, denied=denied)
        forgotten = self.memory.forget_named(
            uids - known, revoked.tokens - old.tokens, revoked.namespaces - old.namespaces
        )
        for entry in forgotten:
            self._audit.tell(
                AuditEvent.REVOKED, Reason.DENIED, user=entry.answer.user, jti=entry.jti
            )
        self.metrics.evicted += len(forgotten)
        self.metrics.denied = len(denied)
        self.metrics.revoked_at = self._monotonic()
        if revoked.closed != self.is_closed:
            self.is_closed = revoked.closed
            self._audit.tell(
                AuditEvent.CLOSED if revoked.closed else AuditEvent.OPENED, Reason.UNKNOWN
            )

    def next_question(self) -> PendingReview | None:
        """A token to ask about now, or None."""
        return self.flights.next(self._monotonic())

    def reviewed(self, question: PendingReview, review: Review) -> None:
        """The API server has answered."""
        waiters = self.flights.answered(question)
        request = GateRequest(
            host=bracketed(next(iter(self._rules.hosts))),
            headers=(("authorization", f"Bearer {question.token}"),),
        )
        now, monotonic = self._clock.unix(), self._monotonic()
        decision = decide(request, self._rules, now, review=review)
        if decision.identity is not None:
            answer = self._remember(question, decision.identity, now, monotonic)
        else:
            answer = self._answers.refused(decision.reason)
            self.memory.forget(question.key)
            if decision.reason in (Reason.REVIEW_REFUSED, Reason.REVIEW_AUDIENCE):
                self.refusals.put(question.key, monotonic + REFUSED_SECONDS, answer)
            self._audit.refused(decision.reason, question.token)
        if self.is_closed:
            answer = self._answers.refused(Reason.UNKNOWN)
        self._tell(waiters, answer)

    def unreachable(
        self,
        question: PendingReview,
        retry_after_seconds: float | None,
        *,
        about_token: bool = False,
    ) -> None:
        """The API server has not answered. `about_token`: others are no worse off for that."""
        now = self._monotonic()
        if about_token:
            self._tell(self.flights.given_up(question), self._answers.refused(Reason.UNKNOWN))
            return
        waiters = self.flights.failed(question, now, retry_after_seconds)
        self._tell(waiters, self._unknown(now))

    def tick(self) -> None:
        """Send away who has waited for too long, and forget what has ended."""
        now = self._monotonic()
        self._turn_away(self.flights.impatient(now), now)
        self.memory.sweep(now)

    def end(self) -> None:
        """Answer everybody who waits: it is over."""
        self._tell(list(self.flights.everybody()), self._answers.refused(Reason.UNKNOWN))

    def _from_review(
        self, authorization: bytes, source: str, waiter: Waiter
    ) -> AuthzResponse | None:
        key = sha256(authorization).digest()
        now = self._monotonic()
        entry = self._entries.get(key)
        is_remembered = entry is not None and now < entry.until
        if not is_remembered and (refusal := self.refusals.get(key, now)) is not None:
            self.metrics.remembered_refusals += 1
            return self._count(refusal)
        token = authorization.removeprefix(b"Bearer ").decode("ascii")
        question = PendingReview(key=key, token=token, source=source)
        if entry is not None and is_remembered:
            if now >= entry.fresh_until:
                entry.fresh_until = min(now + AGAIN_SECONDS, entry.until)
                self.flights.submit(question, None, now)
            self.metrics.remembered += 1
            return entry.answer
        self.metrics.unseen += 1
        self._turn_away(self.flights.submit(question, waiter, now), now)
        return None

    def _remember(
        self, question: PendingReview, identity: CallerIdentity, now: float, monotonic: float
    ) -> AuthzResponse:
        claims = decode_unverified(question.token)[1]
        bound = claims["kubernetes.io"]
        answer = self._shared.get(identity.user)
        if answer is None:
            answer = self._shared[identity.user] = self._answers.allowed(identity)
        lasts = max(0.0, min(self._remember_seconds, claims["exp"] - now))
        entry = CachedDecision(
            answer,
            fresh_until=monotonic + FRESH_SHARE * lasts,
            until=monotonic + lasts,
            secret=_uid(bound, "secret"),
            account=_uid(bound, "serviceaccount"),
            jti=claims.get("jti", ""),
            namespace=bound["namespace"],
        )
        if question.key not in self._entries:
            self._audit.tell(AuditEvent.TAKEN, Reason.ALLOWED, user=identity.user, jti=entry.jti)
        self.memory.put(question.key, entry)
        return answer

    def _refuse(self, decision: Decision, request: GateRequest) -> AuthzResponse:
        token = request.headers[0][1].removeprefix("Bearer ") if request.headers else ""
        self._audit.refused(decision.reason, token)
        return self._count(self._answers.refused(decision.reason))

    def _remember_host(self, host: bytes) -> None:
        if len(host) > LIMIT_HOST_BYTES:
            return
        if len(self._known_hosts) >= LIMIT_HOSTS:  # one name, with thousands of ports
            self._known_hosts.clear()
        self._known_hosts.add(host)

    def _unknown(self, now: float) -> AuthzResponse:
        return self._answers.refused(Reason.UNKNOWN, self.flights.retry_after_seconds(now))

    def _turn_away(self, waiters: list[Waiter], now: float) -> None:
        if waiters:
            self._tell(waiters, self._unknown(now))

    def _tell(self, waiters: list[Waiter], answer: AuthzResponse) -> None:
        for waiter in waiters:
            waiter(self._count(answer))

    def _count(self, answer: AuthzResponse) -> AuthzResponse:
        self.metrics.decisions[answer.reason] += 1
        return answer


def _request(host: bytes, authorizations: Sequence[bytes]) -> GateRequest:
    values = (("authorization", value.decode("latin-1")) for value in authorizations)
    return GateRequest(host=host.decode("latin-1"), headers=tuple(values))


def _uid(bound: dict[str, object], kind: str) -> str:
    reference = bound.get(kind)
    return str(reference.get("uid", "")) if isinstance(reference, dict) else ""
