"""Envoy's gate, the authorizer and the pure decision, asked the same.

docs/reference/gate-refusals.md shows where they differ. Between the authorizer and the decision
there is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daypass._core.jwt import decode_unverified
from daypass.gate.signing_keys import is_signed
from daypass.render.envoy.xds import Json
from daypass.rules.claims import Bound
from daypass.rules.decision import Allow, Decision, GateRequest, Rules, TokenReview, decide
from daypass.rules.reasons import Reason
from support.fake_reviews import fake_reviews
from support.gate_differences import (
    WITH_AUDIENCES,
    Expect,
    assert_agree,
    assert_documented,
    compare,
)
from support.gates import RunningGate, manager_of, running_gate
from support.hostile_targets import ALICE, HOSTS, OPENINGS
from support.single_changes import (
    DENIED_TOKEN,
    GONE_UID,
    RULES,
    Keys,
    Sent,
    claim,
    known,
    several_changes,
    single_changes,
    together,
)
from support.tokens import AUDIENCE, ISSUER, Signer
from wire.authorizers import ReviewedGate, reviewed_gate

OURS, STRANGER = Signer("ours"), Signer("ours")
KEYS = Keys(ours=OURS, stranger=STRANGER, issuer=ISSUER, audience=AUDIENCE)
SEVERAL = several_changes(KEYS)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    with gate_of(tmp_path_factory) as running:
        yield running


def gate_of(
    tmp_path_factory: pytest.TempPathFactory, rules: Rules = RULES
) -> AbstractContextManager[RunningGate]:
    folder = tmp_path_factory.mktemp("gate")
    return running_gate(folder, OURS.jwks, published=known(shards=4), rules=rules)


@pytest.fixture(scope="module")
def authorizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewedGate]:
    with reviewed(tmp_path_factory, change=authorizer_alone) as running:
        yield running


def authorizer_alone(files: dict[str, Json]) -> None:
    """Take out all of the gate's Envoy but the authorizer, as Envoy Gateway has it."""
    manager = manager_of(files)
    filters: list[Json] = manager["http_filters"]
    (asks,) = (n for n, each in enumerate(filters) if "ext_authz" in each["name"])
    del filters[:asks]
    # Otherwise they come from the claims that Envoy has verified.
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        del route["request_headers_to_add"]


@contextmanager
def reviewed(tmp_path_factory: pytest.TempPathFactory, **changes: Any) -> Iterator[ReviewedGate]:
    folder = tmp_path_factory.mktemp("reviewed")
    with (
        fake_reviews(lambda token: is_signed(token, OURS.jwks)) as reviews,
        reviewed_gate(folder, OURS, reviews, known(), **changes) as running,
    ):
        running.authorizer.take_published(known())
        yield running


def request(sent: Sent) -> GateRequest:
    return GateRequest(host=sent.host, authorizations=sent.authorization)


def decided(sent: Sent, now_unix: float, rules: Rules = RULES) -> Decision:
    return decide(request(sent), rules, now_unix, signed=is_signed(sent.token, OURS.jwks))


def test_each_single_change_of_a_token_has_the_reason_of_the_decision(gate: RunningGate) -> None:
    assert_documented(compare(single_changes(KEYS), KEYS, gate.connect, decided), "envoy")


def test_each_single_change_has_the_reason_of_the_decision_where_unbound_tokens_may_pass(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rules = replace(RULES, bound=frozenset({Bound.SECRET, Bound.NONE}))
    with gate_of(tmp_path_factory, rules) as gate:
        pairs = compare(single_changes(KEYS), KEYS, gate.connect, partial(decided, rules=rules))
    assert_documented(pairs, "envoy")
    assert pairs["kubernetes.io=account"] == (Reason.ALLOWED, Reason.ALLOWED)


def test_each_single_change_of_a_token_for_a_further_audience_has_the_reason_of_the_decision(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    keys, expect = replace(KEYS, audience=HOSTS), partial(decided, rules=OPENINGS)
    with gate_of(tmp_path_factory, OPENINGS) as gate:
        pairs = compare(single_changes(keys), keys, gate.connect, expect)
    assert_documented(pairs, "envoy", WITH_AUDIENCES)


UNKNOWN = {"namespace": "team", "secret": {"name": "s", "uid": GONE_UID}}
FAULTS: dict[str, tuple[str, Any]] = {
    "another audience": ("aud", ["elsewhere"]),
    "several audiences": ("aud", [AUDIENCE, HOSTS]),
    "a closed audience": ("aud", [ALICE]),
    "a user": ("sub", "admin"),
    "not allowed": ("sub", "system:serviceaccount:team:other"),
    "unbound": ("kubernetes.io", {"namespace": "team"}),
    "unknown": ("kubernetes.io", UNKNOWN),
    "denied": ("jti", DENIED_TOKEN),
}


@pytest.mark.parametrize("rules", [RULES, OPENINGS], ids=["names", "openings"])
def test_of_two_faults_envoy_reports_the_one_that_the_decision_reports(
    tmp_path_factory: pytest.TempPathFactory, rules: Rules
) -> None:
    rules = replace(rules, allow=Allow(identities=frozenset({"team/bot"})))
    changes = {
        f"{one}, {other}": together(*(claim((name,), value) for name, value in faults))
        for one, other in combinations(FAULTS, 2)
        if len(dict(faults := (FAULTS[one], FAULTS[other]))) == 2
    }
    with gate_of(tmp_path_factory, rules) as gate:
        pairs = compare(changes, KEYS, gate.connect, partial(decided, rules=rules))
    assert {name: pair for name, pair in pairs.items() if pair[0] is not pair[1]} == {}
    assert Reason.ALLOWED not in {reason for reason, _ in pairs.values()}


def test_each_single_change_of_a_token_is_the_authorizers_as_the_decisions(
    authorizer: ReviewedGate,
) -> None:
    pairs = compare(single_changes(KEYS), KEYS, authorizer.gate.connect, reviewed_decision)
    assert_documented(pairs, "authorizer")


def test_the_authorizer_is_asked_about_what_envoy_accepts_and_about_nothing_else(
    gate: RunningGate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """So no forged, foreign or expired token costs it, or the API server, anything."""
    alone = compare(single_changes(KEYS), KEYS, gate.connect, decided)
    accepted = {name for name, (_, reason) in alone.items() if reason is Reason.ALLOWED}
    asked, pairs = set[str](), dict[str, tuple[Reason, Reason]]()
    with reviewed(tmp_path_factory) as both:
        metrics = both.authorizer._service.authorizer.gates[0].metrics
        for name, change in single_changes(KEYS).items():
            before = sum(metrics.decisions.values()) + metrics.passed
            expect = reviewed_decision if name in accepted else decided
            pairs |= compare({name: change}, KEYS, both.gate.connect, expect)
            if sum(metrics.decisions.values()) + metrics.passed > before:
                asked.add(name)
    assert asked == accepted
    assert_documented(pairs, "review")


def reviewed_decision(sent: Sent, now_unix: float) -> Decision:
    """What the decision makes of a request, and of an API server that looks at the signature."""
    authenticated = is_signed(sent.token, OURS.jwks)
    claims: dict[str, Any] = {}
    if authenticated:
        claims = decode_unverified(sent.token)[1]
    aud = claims.get("aud")
    review = TokenReview(
        authenticated=authenticated,
        user=str(claims.get("sub", "")),
        audiences=(AUDIENCE,) if isinstance(aud, list | str) and AUDIENCE in aud else (),
    )
    return decide(request(sent), RULES, now_unix, token_review=review)


several = given(names=st.lists(st.sampled_from([*SEVERAL]), min_size=2, max_size=3, unique=True))
slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def found(gate: RunningGate, names: list[str], expect: Expect) -> tuple[Reason, Reason]:
    changes = {", ".join(names): together(*(SEVERAL[name] for name in names))}
    (pair,) = compare(changes, KEYS, gate.connect, expect).values()
    return pair


@settings(max_examples=100, deadline=None, suppress_health_check=slow)
@several
def test_envoy_and_the_decision_agree_about_several_changes(
    gate: RunningGate, names: list[str]
) -> None:
    assert_agree(names, found(gate, names, decided), "envoy")


@settings(max_examples=50, deadline=None, suppress_health_check=slow)
@several
def test_the_authorizer_and_the_decision_agree_about_several_changes(
    authorizer: ReviewedGate, names: list[str]
) -> None:
    assert_agree(names, found(authorizer.gate, names, reviewed_decision), "authorizer")
