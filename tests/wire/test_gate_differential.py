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
from support.tokens import Signer, encode

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


def good_claims() -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251 - Envoy reads the machine's clock, and no other
    return {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:team:bot",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3000,
        "jti": "j-1",
        "kubernetes.io": {
            "namespace": "team",
            "serviceaccount": {"name": "bot", "uid": "sa-1"},
            "secret": {"name": "bot-daypass-x", "uid": "secret-1"},
        },
    }


# Minutes away from every bound, so that the second in which Envoy looks does not matter.
TIMES: list[Any] = [-3600, 300, 3000, 8000, 10**6]
JUNK: list[Any] = ["", "x", 0, -1, True, [], {}, ["x"], {"x": 1}, 1.5, "1800000000"]
absent = st.just("<absent>")
odd = st.sampled_from(JUNK)

bound = st.builds(
    lambda secret, account: {
        "namespace": "team", "secret": {"uid": secret}, "serviceaccount": {"uid": account},
    },
    st.sampled_from(["secret-1", "revoked-secret", "revoked-secre"]),
    st.sampled_from(["sa-1", "revoked-sa", "revoked-sa-"]),
)  # fmt: skip

changes = st.fixed_dictionaries(
    {},
    optional={
        "iss": absent | odd | st.sampled_from(["kubernetes/serviceaccount", ISSUER + "/"]),
        "aud": absent | odd | st.sampled_from([AUDIENCE, AUDIENCE.upper()])
        | st.lists(st.sampled_from([AUDIENCE, ISSUER, AUDIENCE + "x"]), max_size=3),
        "sub": absent | odd | st.sampled_from(
            ["admin", "system:serviceaccount:team:", "system:serviceaccount:other:bot",
             "system:serviceaccount:team:bot:x", "system:node:n"]),
        "kubernetes.io": absent | odd | st.sampled_from([
            {"namespace": "team"},
            {"namespace": "team", "secret": {}},
            {"namespace": "team", "secret": {"uid": 5}},
            {"namespace": "team", "pod": {"name": "p", "uid": "u"}},
            {"secret": {"uid": "secret-1"}},
        ]) | bound,
        "exp": absent | odd | st.sampled_from(TIMES),
        "nbf": absent | st.sampled_from([-5400, 3600]),
        "iat": absent | st.sampled_from([-5400, 3600]),
        "jti": absent | odd | st.sampled_from(["revoked-jti", "revoked-jti ", "Revoked-jti"]),
    },
)  # fmt: skip
signers = st.sampled_from(["ours", "stranger", "none", "HS256", "kid"])
forms = st.sampled_from(
    [
        "Bearer {}",
        "Bearer {}",
        "Bearer {}",
        "bearer {}",
        "Bearer  {}",
        "Bearer {} x",
        "{}",
        "Basic eDp5",
    ]
)


def made(change: dict[str, Any], signer: str) -> str:
    claims = good_claims()
    now = claims["iat"] + 60
    for name, value in change.items():
        if value == "<absent>":
            del claims[name]
        elif name in ("exp", "nbf", "iat") and type(value) is int and abs(value) > 60:
            claims[name] = now + value
        else:
            claims[name] = value
    if signer == "stranger":
        return STRANGER.sign(claims)
    if signer == "kid":
        return OURS.sign(claims, {"kid": "other"})
    if signer in ("none", "HS256"):
        return OURS.sign(claims, {"alg": signer}).rpartition(".")[0] + "." + encode(b"sig")
    return OURS.sign(claims)


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
