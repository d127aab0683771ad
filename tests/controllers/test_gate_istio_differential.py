"""Istio's gate and the pure decision, asked the same: where they differ is written down here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daypass.gateway.decision import Decision, Request, Rules, decide
from daypass.gateway.reasons import CODES, MESSAGES, Reason
from daypass.render.envoy.revocation import Revoked
from support.deadline import eventually
from support.istio_gates import AUDIENCE, GUARDED, IstioGate, running_istio_gate, seen
from support.odd_tokens import changes, forms, made_by, signers
from support.raw import Answer
from support.tokens import Signer

pytestmark = pytest.mark.timeout(600)

OURS, STRANGER = Signer("ours"), Signer("ours")
REVOKED = Revoked(
    secrets={"revoked-secret"}, service_accounts={"revoked-sa"}, tokens={"revoked-jti", "x"}
)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioGate]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running:
        keys = json.loads(running.keys)["keys"] + json.loads(OURS.jwks)["keys"]
        running.publish(REVOKED, json.dumps({"keys": keys}))
        line = f"Authorization: Bearer {made({'jti': 'x'}, 'ours')}"
        eventually(
            "keys and list are in force",
            lambda: MESSAGES[Reason.DENIED] in running.send(line).json["message"],
        )
        yield running


def made(change: dict[str, Any], signer: str) -> str:
    return made_by(OURS, STRANGER, change, signer)


def expected(gate: IstioGate, line: str, signer: str) -> Decision:
    rules = Rules(
        hosts=frozenset({GUARDED}),
        issuer=gate.issuer,
        audience=AUDIENCE,
        longest_lifetime_seconds=7200,
        denied={*REVOKED.secrets, *REVOKED.service_accounts, *REVOKED.tokens},
    )
    request = Request(host=GUARDED, headers=(("authorization", line),))
    return decide(request, rules, time.time(), signed=signer == "ours")  # noqa: TID251


TABLE: dict[str, tuple[dict[str, Any], Reason]] = {
    # A subject that begins like a ServiceAccount's and is none.
    "no such subject": ({"sub": "system:serviceaccount:team:"}, Reason.SUBJECT),
    # A subject of another namespace than the token says.
    "two namespaces": ({"sub": "system:serviceaccount:other:bot"}, Reason.SUBJECT),
    # A UID that is there and is no string.
    "no such UID": ({"kubernetes.io": {"namespace": "team", "secret": {"uid": 5}}}, Reason.UNBOUND),
    # A long life of which little is left, where the list of the revoked says nothing about it.
    "little left": ({"iat": -5400}, Reason.LIVES_TOO_LONG),
}
"""What Istio's gate lets through and the decision does not: the same as on one machine. No API
server signs the first three, the fourth only if the policy allows it."""


@pytest.mark.parametrize("line", TABLE)
def test_each_line_of_the_table_is_a_real_difference(gate: IstioGate, line: str) -> None:
    change, reason = TABLE[line]
    value = f"Bearer {made(change, 'ours')}"
    assert expected(gate, value, "ours").reason is reason
    assert seen(gate.send(f"Authorization: {value}"))


def differs_knowingly(change: dict[str, Any], reason: Reason) -> bool:
    subject = str(change.get("sub", "system:serviceaccount:"))
    uid = (change.get("kubernetes.io") or {}).get("secret", {}).get("uid")
    return (
        (reason is Reason.SUBJECT and subject.startswith("system:serviceaccount:"))
        or (reason is Reason.UNBOUND and uid is not None)
        or (reason is Reason.LIVES_TOO_LONG and change.get("exp", 3000) in (300, 3000))
    )


NAMED_OTHERWISE = {
    Reason.FOREIGN_ISSUER: (Reason.MALFORMED,),
    Reason.AUDIENCE: (Reason.MALFORMED,),
    Reason.NO_EXPIRY: (Reason.MALFORMED, Reason.EXPIRED),
    Reason.SUBJECT: (Reason.MALFORMED,),
}
"""Where Istio's gate finds another word: a claim of another type is no token to it, and a fraction
of a second is a time.
"""


def told(answer: Answer) -> Reason:
    """The reason that a refusal gives. Fails where it is none of the gate's."""
    message = answer.json["message"]
    (reason,) = (each for each in Reason if message.startswith(MESSAGES[each]))
    assert answer.code == CODES.get(reason, 401)
    assert ("www-authenticate" in answer.headers) is (answer.code == 401)
    return reason


@settings(
    max_examples=300, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(change=changes, signer=signers | st.just("ours") | st.just("ours"), form=forms)
@example(change={}, signer="ours", form="Bearer {}")
@example(change={"aud": AUDIENCE}, signer="ours", form="Bearer {}")
def test_istios_gate_and_the_decision_agree(
    gate: IstioGate, change: dict[str, Any], signer: str, form: str
) -> None:
    line = form.format(made(change, signer))
    decision = expected(gate, line, signer)
    answer = gate.send(f"Authorization: {line}", "kubeflow-userid: forged")
    if decision.identity is None:
        if answer.code == 200:
            assert differs_knowingly(change, decision.reason), (decision, change)
            return
        # It looks at one thing after the other, in an order of its own, and names what it finds.
        assert told(answer) in Reason
        if decision.reason is Reason.DENIED or (len(change) == 1 and signer == "ours"):
            assert told(answer) in (decision.reason, *NAMED_OTHERWISE.get(decision.reason, ()))
        return
    headers = seen(answer)
    assert headers["kubeflow-userid"] == decision.identity.user
    assert headers["kubeflow-groups"] == ",".join(decision.identity.groups)
