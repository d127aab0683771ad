"""The gate beside a browser login on a real istiod: each request finds its own way."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from daypass.render.names import GATE_KEYS
from daypass.rules.claims import LONG_LIVED_ISSUER
from daypass.rules.published import CLUSTER_SHARDS, Published
from daypass.rules.reasons import Reason
from support import gate_differences
from support.deadline import eventually
from support.gate_differences import seen
from support.istio_gates import (
    COLLECTIONS,
    FORGED,
    GUARDED,
    LOGIN_PAGE,
    OTHER,
    OTHER_TOKENS,
    IstioEnv,
    running_istio_gate,
    signed,
)
from support.istio_logins import authentication, by_filter, by_policy
from support.publishing import published
from support.raw import Answer
from support.tokens import Signer

pytestmark = pytest.mark.timeout(600)

DEX, DEX_ISSUER = Signer("dex"), "https://dex.example.com"
SESSION = "Cookie: session=alice"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    with running_istio_gate(tmp_path_factory.mktemp("gate"), "login: keep") as gate:
        yield gate


@pytest.fixture(scope="module", params=["policy", "filter"])
def gate(running: IstioEnv, request: pytest.FixtureRequest) -> Iterator[IstioEnv]:
    """The gate beside each kind of login."""
    running.apply(by_policy() if request.param == "policy" else by_filter())
    eventually("the login answers", lambda: running.send().code == 302)
    yield running
    without_login(running)


def without_login(running: IstioEnv) -> None:
    for collection in COLLECTIONS.values():
        running.delete(f"{collection}/login")
    eventually("the login is gone", lambda: running.send().code == 200)
    judge = "envoy.filters.http.jwt_authn"
    eventually("nor judges anybody else", lambda: judge not in running.filters())


@pytest.fixture(autouse=True)
def _nobody_was_asked(running: IstioEnv) -> None:
    running.login.asked.clear()


def dex(gate: IstioEnv) -> str:
    return signed(gate, DEX, iss=DEX_ISSUER)


def assert_refused(gate: IstioEnv, answer: Answer, reason: Reason) -> None:
    gate_differences.assert_refused(answer, reason)
    assert not gate.login.asked


def assert_redirected(gate: IstioEnv, answer: Answer) -> None:
    assert (answer.code, answer.headers["location"]) == (302, LOGIN_PAGE)
    assert len(gate.login.asked) == 1


def test_a_token_skips_the_login_and_arrives_as_the_bot(gate: IstioEnv) -> None:
    for more in ((), (SESSION,), FORGED):
        headers = seen(gate.send(gate.bearer(), *more))
        assert headers["kubeflow-userid"] == gate.identity.user
        assert "masters" not in headers["kubeflow-groups"]
        assert "kubeflow_userid" not in headers
        assert "authorization" not in headers
    assert not gate.login.asked


def test_a_session_keeps_who_it_is_and_nobody_elses_word_counts(gate: IstioEnv) -> None:
    headers = seen(gate.send(SESSION, *FORGED))
    assert headers["kubeflow-userid"] == "alice@example.com"
    assert not {"kubeflow_userid", "kubeflow-groups"} & headers.keys()


def test_without_a_session_and_a_token_the_login_redirects(gate: IstioEnv) -> None:
    assert_redirected(gate, gate.send(*FORGED))
    assert "kubeflow-userid" not in gate.login.asked[0]


def test_a_bad_token_of_the_cluster_is_refused_and_not_redirected(gate: IstioEnv) -> None:
    for shape, reason in OTHER_TOKENS:
        assert_refused(gate, gate.send(gate.bearer(**shape), SESSION), reason)
    assert_refused(gate, gate.send(signed(gate, gate.signer, exp=1)), Reason.EXPIRED)
    assert_refused(gate, gate.send(signed(gate, DEX)), Reason.SIGNATURE)
    long = f"Authorization: Bearer {gate.identity.token.reveal()}"
    assert_refused(gate, gate.send(long, SESSION), Reason.LONG_LIVED)


def test_a_token_without_a_credential_is_refused_and_not_redirected(gate: IstioEnv) -> None:
    line = signed(gate, gate.signer)
    gate.know(published([gate.identity.credential], shards=CLUSTER_SHARDS))
    eventually("it is gone", lambda: gate.send(line).code == 401)
    assert_refused(gate, gate.send(line), Reason.UNKNOWN_CREDENTIAL)
    gate.know(Published.closed(CLUSTER_SHARDS))
    eventually("the gate is closed", lambda: gate.send(line).code == 503)
    assert_refused(gate, gate.send(line), Reason.UNKNOWN)
    assert seen(gate.send(SESSION))["kubeflow-userid"] == "alice@example.com"
    gate.know(gate.known())
    both = (line, gate.bearer())  # each is in a part of its own
    eventually("it is open", lambda: all(gate.send(each).code == 200 for each in both))


def test_without_keys_sessions_go_on_and_tokens_wait(gate: IstioEnv) -> None:
    gate.start_without(GATE_KEYS)
    try:
        assert_refused(gate, gate.send(gate.bearer()), Reason.UNKNOWN)
        assert seen(gate.send(SESSION, *FORGED))["kubeflow-userid"] == "alice@example.com"
        gate.login.asked.clear()
        assert_redirected(gate, gate.send(dex(gate)))
    finally:
        gate.publish()
        good = gate.bearer()
        eventually("the keys are back", lambda: gate.send(good).code == 200)


def test_a_request_authentication_that_is_there_goes_on_working(running: IstioEnv) -> None:
    without_login(running)
    claim = [{"header": "kubeflow-userid", "claim": "email"}]
    with running.added(authentication("login", DEX_ISSUER, DEX.jwks, outputClaimToHeaders=claim)):
        line = signed(running, DEX, iss=DEX_ISSUER, email="carol@example.com")
        eventually(
            "it is in force",
            lambda: "carol@example.com" in seen(running.send(line, *FORGED)).values(),
        )
        assert running.send(signed(running, DEX, iss="https://nobody.example.com")).code == 401
        for gate in ("login: keep, forwardToken: true", "login: keep"):
            running.configure(gate)
            good = running.bearer()
            headers = eventually(
                "the token goes on, or not",
                lambda: (
                    h
                    if ("authorization" in (h := seen(running.send(good)))) is ("true" in gate)  # noqa: B023 - called at once
                    else None
                ),
            )
            assert headers["kubeflow-userid"] == running.identity.user


def test_one_for_the_cluster_opens_nothing_that_the_gate_has_not_seen(
    running: IstioEnv,
) -> None:
    without_login(running)
    keys = json.dumps(running.plane.admin.get("/openid/v1/jwks"))
    short = running.bearer().removeprefix("Authorization: ")
    long = f"Bearer {running.identity.token.reveal()}"
    for issuer, token in ((running.issuer, short), (LONG_LIVED_ISSUER, long)):
        line = f"Authorization: Token {token}"
        assert "kubeflow-userid" not in seen(running.send(line))
        with running.added(authentication("login", issuer, keys)):
            eventually("its word is not enough", lambda: running.send(line).code == 403)  # noqa: B023 - called at once
            assert running.send(line, host=OTHER).code == 200
            assert seen(running.send(running.bearer()))["kubeflow-userid"] == running.identity.user
        without_login(running)


def test_what_is_read_of_a_path_holds_for_tokens_and_not_for_sessions(gate: IstioEnv) -> None:
    path, header = "/notebook/team//lab;x", "X-Gateway-Model-Name: llama"
    gate.configure(f"login: keep, audiences: {{paths.example.com: [{GUARDED}/serving/alice/]}}")
    try:
        good = gate.bearer()
        eventually("paths are read", lambda: gate.send(good, path=path).code == 400)
        assert_refused(gate, gate.send(good, header), Reason.AMBIGUOUS)
        narrow = gate.bearer(audiences=["paths.example.com"])
        assert_refused(gate, gate.send(narrow), Reason.AUDIENCE_OPENING)
        assert seen(gate.send(narrow, path="/serving/alice/iris"))
        headers = seen(gate.send(SESSION, header, path=path))
        assert headers["kubeflow-userid"] == "alice@example.com"
    finally:
        gate.configure("login: keep")
        eventually("paths are not read", lambda: gate.send(good, path=path).code == 200)
