"""Istio's gate against the pure decision; docs/reference/gate-refusals.md has the differences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daypass.gate.signing_keys import is_signed
from daypass.rules.claims import Bound
from daypass.rules.decision import Decision, GateRequest, decide
from daypass.rules.published import CLUSTER_SHARDS
from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.gate_differences import (
    Reasons,
    assert_agree,
    assert_documented,
    compare,
    reason_in,
)
from support.istio_gates import GUARDED, IstioEnv, running_istio_gate
from support.single_changes import (
    FAR_UID,
    OTHER_UID,
    RULES,
    Change,
    Keys,
    Sent,
    known,
    several_changes,
    single_changes,
    together,
)
from support.tokens import ACCOUNT_UID, AUDIENCE, ISSUER, Signer, good_claims

pytestmark = pytest.mark.timeout(600)

OURS, STRANGER = Signer("ours"), Signer("ours")
NAMES = [*several_changes(Keys(ours=OURS, stranger=STRANGER, issuer=ISSUER, audience=AUDIENCE))]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running:
        keys = json.loads(running.keys)["keys"] + json.loads(OURS.jwks)["keys"]
        running.keys = json.dumps({"keys": keys})
        running.publish(known(CLUSTER_SHARDS))
        in_force(running, {"jti": "x"}, Reason.DENIED)
        for uid in (OTHER_UID, FAR_UID):
            account = {"uid": ACCOUNT_UID}
            bound = {"namespace": "team", "secret": {"uid": uid}, "serviceaccount": account}
            in_force(running, {"kubernetes.io": bound}, Reason.ALLOWED)
        yield running


def in_force(gate: IstioEnv, change: dict[str, Any], reason: Reason) -> None:
    line = f"Authorization: Bearer {OURS.sign(good_claims(iss=gate.issuer, **change))}"
    eventually(f"the gate answers {reason}", lambda: reason_in(gate.send(line)) is reason)


def decided(gate: IstioEnv, sent: Sent, now_unix: float, *, require_bound: bool = True) -> Decision:
    bound = frozenset({Bound.SECRET} if require_bound else {Bound.SECRET, Bound.NONE})
    rules = replace(RULES, issuer=gate.issuer, audience=AUDIENCE, bound=bound)
    request = GateRequest(host=sent.host, authorizations=sent.authorization)
    signed = is_signed(sent.token, OURS.jwks)
    return decide(request, rules, now_unix, signed=signed)


def found(
    gate: IstioEnv, changes: dict[str, Change] | None = None, *, require_bound: bool = True
) -> Reasons:
    """What the decision and the gate say to these changes: all single ones, if left out."""
    keys = Keys(ours=OURS, stranger=STRANGER, issuer=gate.issuer, audience=AUDIENCE)
    return compare(
        changes or single_changes(keys),
        keys,
        lambda: gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem),
        lambda sent, now_unix: decided(gate, sent, now_unix, require_bound=require_bound),
    )


def test_each_single_change_of_a_token_has_the_reason_of_the_decision(
    gate: IstioEnv,
) -> None:
    assert_documented(found(gate), "envoy")


def test_each_single_change_has_the_reason_of_the_decision_where_unbound_tokens_may_pass(
    gate: IstioEnv,
) -> None:
    account = {"namespace": "team", "serviceaccount": {"uid": ACCOUNT_UID}}
    try:
        gate.configure("boundTo: [Secret, none]")
        in_force(gate, {"kubernetes.io": account}, Reason.ALLOWED)
        assert_documented(found(gate, require_bound=False), "envoy")
    finally:
        gate.configure("")
        in_force(gate, {"kubernetes.io": account}, Reason.UNBOUND)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True))
def test_a_token_with_several_changes_passes_only_by_the_decision(
    gate: IstioEnv, names: list[str]
) -> None:
    keys = Keys(ours=OURS, stranger=STRANGER, issuer=gate.issuer, audience=AUDIENCE)
    several = several_changes(keys)
    change = together(*(several[name] for name in names))
    (pair,) = found(gate, {", ".join(names): change}).values()
    assert_agree(names, pair, "envoy")
