"""The authorizer without sockets: TokenReviews, cached decisions and responses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daypass._core.errors import DaypassError
from daypass.config.gate import DEFAULT_GATE
from daypass.gate.authorizer.api_server import NoAnswerError
from daypass.gate.authorizer.audit_log import AuditEvent
from daypass.gate.authorizer.authorizer import FRESH_SHARE
from daypass.gate.authorizer.questions import LIMIT_REFUSALS
from daypass.gate.authorizer.served_gate import AuthzResponse
from daypass.gate.signing_keys import TokenVerifier
from daypass.render.names import gate_prefix
from daypass.rules.claims import SKEW_SECONDS
from daypass.rules.decision import TokenReview
from daypass.rules.reasons import Reason
from support.children import resident_bytes
from support.timing import FakeClock
from support.tokens import ACCOUNT_UID, AUDIENCE, SECRET_UID, USER, Signer, encode
from unit.gate.reviewing import (
    GOOD,
    HOST,
    REFUSED,
    SIGNER,
    AskedAuthorizer,
    claims,
    headers_of,
)

OTHER_UID = "0ddba11c-0000-4000-8000-000000000001"
"""A credential in another shard of the set."""


@pytest.fixture
def tried() -> AskedAuthorizer:
    return AskedAuthorizer()


@pytest.fixture
def cached(tried: AskedAuthorizer) -> str:
    """The Authorization header of a token that has passed, and is cached for a minute."""
    line = f"Bearer {tried.token()}"
    assert tried.ask(line).code == 200
    return line


@pytest.mark.parametrize("lifetime", [30, 3600])
def test_a_decision_is_cached_until_the_token_expires_or_the_configured_limit(
    lifetime: int,
) -> None:
    tried = AskedAuthorizer()
    line = f"Bearer {tried.token(exp=int(tried.clock.unix()) + lifetime)}"
    tried.ask(line)
    tried.says = lambda token: REFUSED
    tried.clock.advance(min(lifetime, 60) * 0.79)
    assert tried.ask(line).code == 200
    assert len(tried.asked) == 1
    tried.clock.advance(min(lifetime, 60) * 0.21)
    assert tried.ask(line).reason is Reason.REVIEW_REFUSED
    assert len(tried.asked) == 2


def test_a_token_in_use_is_reviewed_again_before_its_cache_entry_expires(
    tried: AskedAuthorizer, cached: str
) -> None:
    tried.clock.advance(50)
    assert tried.ask(cached).code == 200, "no request waits for it"
    assert len(tried.asked) == 2
    tried.clock.advance(20)
    assert tried.ask(cached).code == 200
    assert len(tried.asked) == 2, "cached again from the second review on"


def test_a_token_refused_by_a_repeated_review_is_dropped_at_once(
    tried: AskedAuthorizer, cached: str
) -> None:
    tried.clock.advance(50)
    tried.says = lambda token: REFUSED
    tried.ask(cached)
    assert tried.ask(cached).reason is Reason.REVIEW_REFUSED


def test_a_failed_repeated_review_keeps_the_cache_entry_until_it_expires(
    tried: AskedAuthorizer, cached: str
) -> None:
    tried.says = lambda token: NoAnswerError("it fails")
    tried.clock.advance(50)
    tried.ask(cached)
    assert tried.ask(cached).code == 200
    tried.clock.advance(11)
    answer = tried.ask(cached)
    assert (answer.code, headers_of(answer)["retry-after"]) == (503, "1")


MALFORMED = [
    "{} x", " {}", "{} ", "{}\t", "{},{}", "{}.", "{}=", "\u00e9{}",
]  # fmt: skip


@pytest.mark.parametrize(
    "malformed", [*MALFORMED, *(f"x{each}" for each in MALFORMED), "bearer", "Basic eDp5"]
)
def test_a_malformed_header_with_a_cached_token_is_refused(
    tried: AskedAuthorizer, cached: str, malformed: str
) -> None:
    assert tried.ask(malformed.format(cached, cached)).reason is Reason.UNREADABLE
    assert len(tried.asked) == 1


@pytest.mark.parametrize("every", [0.25, 7, 47, 48, 59, 59.75, 60, 100])
def test_without_a_watch_a_token_outlives_its_secret_by_the_cache_time_at_most(
    tried: AskedAuthorizer, every: float
) -> None:
    """The API server's own cache adds 10 s."""
    line = f"Bearer {tried.token()}"
    assert tried.ask(line).code == 200
    tried.says = lambda token: REFUSED  # its Secret is gone
    passed = [0.0]
    for number in range(1, int(200 / every) + 1):
        tried.clock.advance(every)
        if tried.ask(line).code == 200:
            passed.append(number * every)
    assert passed[-1] < 60
    assert len([each for each in passed if each >= FRESH_SHARE * 60]) <= 1


def shard(value: Any) -> str:
    return encode(json.dumps(value).encode())


def test_any_number_of_invalid_tokens_uses_no_memory() -> None:
    tried, host, target = AskedAuthorizer(), HOST.encode(), f"{gate_prefix(DEFAULT_GATE)}/".encode()
    authorizer = tried.authorizer
    others = {"iss": "https://other.example.com", "aud": [AUDIENCE], "sub": USER}
    codes: Counter[int] = Counter()

    def send(count: int) -> None:
        for number in range(count // 10):
            foreign = shard({**others, "jti": str(number)})
            for kind in range(10):
                # One of ten is well-formed, from another issuer.
                middle = foreign if kind == 0 else f"{number}{kind}"
                line = f"Bearer e30.{middle}.sig".encode()
                answer = authorizer.ask(target, host, (line,), source="", model_header=False)
                codes[answer.code if isinstance(answer, AuthzResponse) else 0] += 1

    send(10_000)
    before = resident_bytes()
    send(100_000)
    assert codes == {401: 110_000}
    assert resident_bytes() - before < 3 * 1024 * 1024, "32 bytes for each"
    assert (len(authorizer.cache), len(authorizer.tokens.refusals), tried.asked) == (0, 0, [])
    assert authorizer.tokens.queue.waiting == 0
    assert len(tried.lines) <= 60, "events are bounded too"
    assert tried.audit.suppressed > 100_000
    tried.audit.event(AuditEvent.REVOKED, Reason.DENIED)
    assert tried.lines[-1]["event"] == "token-revoked", "junk hides no other event"


def test_cached_refusals_of_forged_tokens_are_bounded(tried: AskedAuthorizer) -> None:
    tried.says = lambda token: REFUSED
    for number in range(LIMIT_REFUSALS + 1_000):
        forged = shard(claims(tried.clock, jti=str(number)))
        answer = tried.ask(f"Bearer {shard({'alg': 'RS256'})}.{forged}.sig")
        assert answer.reason is Reason.REVIEW_REFUSED
    authorizer = tried.authorizer
    assert (len(authorizer.cache), len(authorizer.tokens.refusals)) == (0, LIMIT_REFUSALS)


def test_a_refusal_by_the_api_server_is_cached_briefly(tried: AskedAuthorizer) -> None:
    tried.says = lambda token: REFUSED
    line = f"Bearer {tried.token()}"
    for _ in range(3):
        assert tried.ask(line).reason is Reason.REVIEW_REFUSED
    assert len(tried.asked) == 1
    tried.clock.advance(5)
    tried.says = lambda token: GOOD
    assert tried.ask(line).code == 200


@pytest.mark.parametrize(
    ("known", "denied"),
    [
        ([OTHER_UID], {}),
        ([SECRET_UID], {"objects": {SECRET_UID}}),
        ([SECRET_UID], {"objects": {ACCOUNT_UID}}),
        ([SECRET_UID], {"tokens": {"j-1"}}),
        ([SECRET_UID], {"namespaces": {"team"}}),
    ],
    ids=["gone", "secret", "account", "token", "namespace"],
)
def test_a_revoked_token_is_refused_at_once_even_if_cached(
    tried: AskedAuthorizer, known: list[str], denied: dict[str, Any]
) -> None:
    tried.publish(SECRET_UID)
    line = f"Bearer {tried.token()}"
    assert tried.ask(line).code == 200
    tried.publish(*known, **denied)
    assert tried.cached(line) is None
    reason = Reason.DENIED if denied else Reason.UNKNOWN_CREDENTIAL
    assert tried.ask(line).reason is reason
    assert len(tried.asked) == 1
    event = next(line for line in tried.lines if line["event"] == "token-revoked")
    assert (event["why"], event["user"], event["jti"]) == (reason, USER, "j-1")
    tried.publish(SECRET_UID)
    assert tried.ask(line).code == 200


def test_a_change_of_the_set_applies_to_a_review_in_flight(tried: AskedAuthorizer) -> None:
    tried.publish(SECRET_UID)

    def revoke(token: str) -> TokenReview:
        tried.publish()
        return GOOD

    tried.says = revoke
    assert tried.bearer().reason is Reason.UNKNOWN_CREDENTIAL
    assert len(tried.authorizer.cache) == 0


def test_a_token_that_expires_during_its_review_is_refused(tried: AskedAuthorizer) -> None:
    def expire(token: str) -> TokenReview:
        tried.clock.advance(3600 + SKEW_SECONDS + 1)
        return GOOD

    tried.says = expire
    assert tried.bearer().reason is Reason.EXPIRED
    assert len(tried.authorizer.cache) == 0


def test_events_contain_no_token_and_mark_unverified_claims(tried: AskedAuthorizer) -> None:
    tried.bearer()
    tried.bearer(aud=["other"], jti="mine")
    tried.bearer(aud=["other"], jti="x\n{}")
    tried.bearer(aud=["other"], jti="x" * 101)
    assert tried.lines[1] == {
        "time": tried.lines[1]["time"],
        "event": "token-refused",
        "gate": DEFAULT_GATE,
        "why": "audience",
        "claimedJti": "mine",
    }
    assert all("claimedJti" not in line for line in tried.lines[2:])
    assert "eyJ" not in json.dumps(tried.lines)


def test_a_token_the_api_server_cannot_read_does_not_block_other_reviews(
    tried: AskedAuthorizer,
) -> None:
    tried.says = lambda token: NoAnswerError("no", about_request=True)
    assert tried.bearer().code == 503
    assert tried.authorizer.tokens.heard_at == tried.clock.monotonic()
    assert tried.authorizer.tokens.last_error == ""
    tried.says = lambda token: GOOD
    assert tried.bearer(jti="other").code == 200


STRANGER = Signer("stranger")


@contextmanager
def reading(read_keys: Callable[[], str]) -> Iterator[AskedAuthorizer]:
    """One that verifies tokens itself."""
    verifier = TokenVerifier(read_keys, clock := FakeClock())
    verifier.start()
    try:
        yield AskedAuthorizer(verifier=verifier, clock=clock)
    finally:
        verifier.stop()


def test_the_signature_is_checked_before_anything_that_the_gate_knows() -> None:
    """Otherwise a forged token would find out what exists, and what is denied."""
    with reading(lambda: SIGNER.jwks) as tried:
        tried.publish()
        forged = STRANGER.named("ours").sign(claims(tried.clock))
        assert tried.bearer().reason is Reason.UNKNOWN_CREDENTIAL
        assert tried.ask(f"Bearer {forged}").reason is Reason.SIGNATURE


def test_without_keys_nothing_is_asked_and_the_token_is_unknown() -> None:
    def fail() -> str:
        raise DaypassError("it is down")

    with reading(fail) as tried:
        assert tried.bearer().reason is Reason.UNKNOWN
        assert tried.asked == []
