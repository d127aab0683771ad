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

from daypass._core.reasons import MESSAGES, Reason
from daypass.gate.decision import Decision, GateRequest, decide
from daypass.gate.signing_keys import is_signed
from support.deadline import eventually
from support.gate_differences import assert_documented, found, passes_knowingly, told
from support.istio_gates import GUARDED, IstioGate, running_istio_gate, seen
from support.odd_tokens import changes, forms, made_by, signers
from support.single_changes import RULES, Keys, Sent, revoked, single_changes
from support.tokens import AUDIENCE, Signer

pytestmark = pytest.mark.timeout(600)

OURS, STRANGER = Signer("ours"), Signer("ours")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioGate]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running:
        keys = json.loads(running.keys)["keys"] + json.loads(OURS.jwks)["keys"]
        running.publish(revoked(), json.dumps({"keys": keys}))
        line = f"Authorization: Bearer {made({'jti': 'x'}, 'ours')}"
        eventually(
            "keys and list are in force",
            lambda: MESSAGES[Reason.DENIED] in running.send(line).json["message"],
        )
        yield running


def made(change: dict[str, Any], signer: str) -> str:
    return made_by(OURS, STRANGER, change, signer)


def decided(gate: IstioGate, sent: Sent, now_unix: float) -> Decision:
    rules = replace(RULES, issuer=gate.issuer, audience=AUDIENCE)
    headers = tuple(("authorization", value) for value in sent.authorization)
    signed = is_signed(sent.token, OURS.jwks)
    return decide(GateRequest(host=sent.host, headers=headers), rules, now_unix, signed=signed)


def test_each_single_change_of_a_token_has_the_reason_of_the_decision(gate: IstioGate) -> None:
    keys = Keys(ours=OURS, stranger=STRANGER, issuer=gate.issuer, audience=AUDIENCE)
    pairs = found(
        single_changes(keys),
        keys,
        lambda: gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem),
        lambda sent, now_unix: decided(gate, sent, now_unix),
    )
    assert_documented(pairs, "istio")


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(change=changes, signer=signers | st.just("ours") | st.just("ours"), form=forms)
@example(change={}, signer="ours", form="Bearer {}")
@example(change={"aud": AUDIENCE}, signer="ours", form="Bearer {}")
def test_a_token_with_several_changes_passes_only_by_the_decision(
    gate: IstioGate, change: dict[str, Any], signer: str, form: str
) -> None:
    token = made(change, signer)
    line = form.format(token)
    now = time.time()  # noqa: TID251 - Envoy reads the machine's clock, and no other
    decision = decided(gate, Sent(authorization=(line,), token=token), now)
    answer = gate.send(f"Authorization: {line}", "kubeflow-userid: forged")
    if decision.identity is None:
        if answer.code == 200:
            assert passes_knowingly(change, decision.reason), (decision, change)
            return
        # Of several faults it may name another one.
        assert told(answer) in Reason
        if decision.reason is Reason.DENIED:
            assert told(answer) is Reason.DENIED
        return
    headers = seen(answer)
    assert headers["kubeflow-userid"] == decision.identity.user
    assert headers["kubeflow-groups"] == ",".join(decision.identity.groups)
