"""Istio's gate against the pure decision; docs/reference/gate-refusals.md has the differences."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daypass.gate.signing_keys import is_signed
from daypass.rules.claims import Bound
from daypass.rules.decision import Decision, GateRequest, decide
from daypass.rules.published import CLUSTER_SHARDS
from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.gate_differences import (
    Reasons,
    assert_documented,
    compare,
    is_known_difference,
    reason_in,
    seen,
)
from support.istio_gates import GUARDED, IstioEnv, running_istio_gate
from support.odd_tokens import changes, forms, signed_token, signers
from support.single_changes import FAR_UID, OTHER_UID, RULES, Keys, Sent, known, single_changes
from support.tokens import ACCOUNT_UID, AUDIENCE, Signer

pytestmark = pytest.mark.timeout(600)

OURS, STRANGER = Signer("ours"), Signer("ours")


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
    line = f"Authorization: Bearer {made({'iss': gate.issuer, **change}, 'ours')}"
    eventually(f"the gate answers {reason}", lambda: reason_in(gate.send(line)) is reason)


def made(change: dict[str, Any], signer: str) -> str:
    return signed_token(OURS, STRANGER, change, signer)


def decided(gate: IstioEnv, sent: Sent, now_unix: float, *, require_bound: bool = True) -> Decision:
    bound = frozenset({Bound.SECRET} if require_bound else {Bound.SECRET, Bound.NONE})
    rules = replace(RULES, issuer=gate.issuer, audience=AUDIENCE, bound=bound)
    request = GateRequest(host=sent.host, authorizations=sent.authorization)
    signed = is_signed(sent.token, OURS.jwks)
    return decide(request, rules, now_unix, signed=signed)


def all_single_changes(gate: IstioEnv, *, require_bound: bool = True) -> Reasons:
    keys = Keys(ours=OURS, stranger=STRANGER, issuer=gate.issuer, audience=AUDIENCE)
    return compare(
        single_changes(keys),
        keys,
        lambda: gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem),
        lambda sent, now_unix: decided(gate, sent, now_unix, require_bound=require_bound),
    )


def test_each_single_change_of_a_token_has_the_reason_of_the_decision(
    gate: IstioEnv,
) -> None:
    assert_documented(all_single_changes(gate), "envoy")


def test_each_single_change_has_the_reason_of_the_decision_where_unbound_tokens_may_pass(
    gate: IstioEnv,
) -> None:
    account = {"namespace": "team", "serviceaccount": {"uid": ACCOUNT_UID}}
    try:
        gate.configure("boundTo: [Secret, none]")
        in_force(gate, {"kubernetes.io": account}, Reason.ALLOWED)
        assert_documented(all_single_changes(gate, require_bound=False), "envoy")
    finally:
        gate.configure("")
        in_force(gate, {"kubernetes.io": account}, Reason.UNBOUND)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(change=changes, signer=signers | st.just("ours") | st.just("ours"), form=forms)
@example(change={}, signer="ours", form="Bearer {}")
@example(change={"aud": AUDIENCE}, signer="ours", form="Bearer {}")
def test_a_token_with_several_changes_passes_only_by_the_decision(
    gate: IstioEnv, change: dict[str, Any], signer: str, form: str
) -> None:
    token = made(change, signer)
    line = form.format(token)
    now = time.time()  # noqa: TID251 - Envoy reads the machine's clock, and no other
    decision = decided(gate, Sent(authorization=(line,), token=token), now)
    answer = gate.send(f"Authorization: {line}", "kubeflow-userid: forged")
    if decision.identity is None:
        if answer.code == 200:
            assert is_known_difference(change, decision.reason), (decision, change)
            return
        # Of several faults it may name another one.
        assert reason_in(answer) in Reason
        if decision.reason is Reason.DENIED:
            assert reason_in(answer) is Reason.DENIED
        return
    headers = seen(answer)
    assert headers["kubeflow-userid"] == decision.identity.user
    assert headers["kubeflow-groups"] == ",".join(decision.identity.groups)
