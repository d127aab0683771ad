"""Envoy's gate, the authorizer and the pure decision, asked the same: where they differ is written
down here. Between the authorizer and the decision there is no difference.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daypass._core.jwt import decode_unverified
from daypass.gateway.decision import Decision, Request, Review, Rules, decide
from daypass.gateway.reasons import CODES, MESSAGES, Reason
from daypass.gateway.signature import is_signed
from daypass.render.envoy.revocation import Revoked
from support.authorizers import ReviewedGate, reviewed_gate
from support.doors import EKF
from support.fake_reviews import fake_reviews
from support.gates import AUDIENCE, ISSUER, RunningGate, running_gate
from support.odd_tokens import changes, forms, made_by, signers
from support.tokens import Signer

OURS, STRANGER = Signer("ours"), Signer("ours")
LONGEST_SECONDS = 7200
REVOKED = Revoked(
    secrets={"revoked-secret"}, service_accounts={"revoked-sa"}, tokens={"revoked-jti", "x"}
)
RULES = Rules(
    hosts=frozenset({EKF}),
    issuer=ISSUER,
    audience=AUDIENCE,
    longest_lifetime_seconds=LONGEST_SECONDS,
    denied={*REVOKED.secrets, *REVOKED.service_accounts, *REVOKED.tokens},
)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    folder = tmp_path_factory.mktemp("gate")
    with running_gate(
        folder, OURS.jwks, longest_lifetime_seconds=LONGEST_SECONDS, revoked=REVOKED
    ) as running:
        yield running


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewedGate]:
    folder = tmp_path_factory.mktemp("reviewed")
    with (
        fake_reviews(lambda token: is_signed(token, OURS.jwks)) as reviews,
        reviewed_gate(folder, OURS, reviews, longest_lifetime_seconds=LONGEST_SECONDS) as running,
    ):
        running.authorizer.take_revoked(REVOKED)
        yield running


def made(change: dict[str, Any], signer: str) -> str:
    return made_by(OURS, STRANGER, change, signer)


def expected(line: str, signer: str) -> Decision:
    now = time.time()  # noqa: TID251
    request = Request(host=EKF, headers=(("authorization", line),))
    return decide(request, RULES, now, signed=signer == "ours")


TABLE: dict[str, tuple[dict[str, Any], Reason]] = {
    # A subject that begins like a ServiceAccount's and is none.
    "no such subject": ({"sub": "system:serviceaccount:team:"}, Reason.SUBJECT),
    # A subject of another namespace than the token says.
    "two namespaces": ({"sub": "system:serviceaccount:other:bot"}, Reason.SUBJECT),
    # A UID that is there and is no string.
    "no such UID": ({"kubernetes.io": {"namespace": "team", "secret": {"uid": 5}}}, Reason.UNBOUND),
    # A long life of which little is left: Envoy counts from now on, and how long ago it was issued
    # is looked at by the list of the revoked, which here says nothing about it.
    "little left": ({"iat": -5400}, Reason.LIVES_TOO_LONG),
}
"""What Envoy lets through and the decision does not. No API server signs the first three, the
fourth only if the policy allows it; and nobody else's signature is taken."""


@pytest.mark.parametrize("line", TABLE)
def test_each_line_of_the_table_is_a_real_difference(gate: RunningGate, line: str) -> None:
    change, reason = TABLE[line]
    value = f"Bearer {made(change, 'ours')}"
    assert expected(value, "ours").reason is reason
    assert gate.passed(gate.send([f"Authorization: {value}"])) is not None


def differs_knowingly(change: dict[str, Any], reason: Reason) -> bool:
    subject = str(change.get("sub", "system:serviceaccount:"))
    uid = (change.get("kubernetes.io") or {}).get("secret", {}).get("uid")
    return (
        (reason is Reason.SUBJECT and subject.startswith("system:serviceaccount:"))
        or (reason is Reason.UNBOUND and uid is not None)
        or (reason is Reason.LIVES_TOO_LONG and change.get("exp", 3000) in (300, 3000))
    )


@settings(
    max_examples=400, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(change=changes, signer=signers | st.just("ours") | st.just("ours"), form=forms)
@example(change={}, signer="ours", form="Bearer {}")
def test_envoy_and_the_decision_agree(
    gate: RunningGate, change: dict[str, Any], signer: str, form: str
) -> None:
    line = form.format(made(change, signer))
    decision = expected(line, signer)
    answer = gate.send([f"Authorization: {line}", "kubeflow-userid: forged"])
    seen = gate.passed(answer)
    if decision.reason is Reason.DENIED:
        assert MESSAGES[Reason.DENIED] in answer.json["message"]
    if not decision.is_allowed:
        assert seen is None or differs_knowingly(change, decision.reason), (decision, change)
        return
    assert decision.identity is not None
    assert seen is not None, change
    assert seen["kubeflow-userid"] == decision.identity.user
    assert seen["kubeflow-groups"] == ",".join(decision.identity.groups)


def reviewed_decision(line: str) -> Decision:
    """What the decision makes of a request, and of an API server that looks at the signature."""
    token = line.rpartition(" ")[2]
    authenticated = is_signed(token, OURS.jwks)
    claims = decode_unverified(token)[1] if authenticated else {}
    aud = claims.get("aud")
    review = Review(
        authenticated=authenticated,
        user=str(claims.get("sub", "")),
        audiences=(AUDIENCE,) if isinstance(aud, list | str) and AUDIENCE in aud else (),
    )
    request = Request(host=EKF, headers=(("authorization", line),))
    return decide(request, RULES, time.time(), review=review)  # noqa: TID251


@settings(
    max_examples=200, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(change=changes, signer=signers | st.just("ours") | st.just("ours"), form=forms)
@example(change={}, signer="ours", form="Bearer {}")
@example(change=TABLE["no such subject"][0], signer="ours", form="Bearer {}")
@example(change=TABLE["two namespaces"][0], signer="ours", form="Bearer {}")
@example(change=TABLE["no such UID"][0], signer="ours", form="Bearer {}")
@example(change=TABLE["little left"][0], signer="ours", form="Bearer {}")
def test_the_authorizer_and_the_decision_agree(
    reviewed: ReviewedGate, change: dict[str, Any], signer: str, form: str
) -> None:
    line = form.format(made(change, signer))
    decision = reviewed_decision(line)
    answer = reviewed.gate.send([f"Authorization: {line}", "kubeflow-userid: forged"])
    seen = reviewed.gate.passed(answer)
    if decision.identity is None:
        assert answer.code == CODES.get(decision.reason, 401), (decision, change)
        assert MESSAGES[decision.reason] in answer.json["message"], change
        return
    assert seen is not None, (change, answer)
    assert seen["kubeflow-userid"] == decision.identity.user
    assert seen["kubeflow-groups"] == ",".join(decision.identity.groups)
