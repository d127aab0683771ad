"""Sources of the exchanged token: variables, GitHub; and the account it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from daypass._core.net import HostPort
from daypass.client.errors import CredentialsError, DoorUnreachableError, ExchangeRefusedError
from daypass.client.http1 import HttpRequest
from daypass.client.retry import TRIES
from daypass.client.transport import CONNECT, Route, TransportError
from support.exchanges import CredentialsAtDoor
from support.fake_door import (
    SENTINEL,
    answer,
    jwt,
    status_answer,
    token_answer,
)
from support.messages import raises
from support.timing import NOON
from unit.client.conftest import Ask

NAMES = {"namespace": "team", "serviceAccount": "deployer"}
ANCHOR = "deployer-daypass-anchor-0123456789abcdefghij"
OIDC = jwt({"iss": "https://ci.example.com", "sub": "repo:a/b", "exp": int(NOON) + 300})
GITHUB = {"github": {"audience": "https://ekf.example.com/a&b"}}


def exchanged(wired: CredentialsAtDoor) -> str:
    [authorization] = [v for k, v in wired.wire.requests[-1].headers if k == "Authorization"]
    return authorization.removeprefix("Bearer ")


# -- federation


@pytest.mark.parametrize("named", [{}, {"secretName": ANCHOR}], ids=["no anchor", "anchor"])
def test_a_federated_token_is_exchanged_for_the_named_account_and_bound_to_the_named_secret(
    wired: CredentialsAtDoor, ask: Ask, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    source = {"token": {"variable": "CI_TOKEN"}}
    credentials = wired(lambda _: token_answer(), **source, **NAMES, **named)
    assert credentials.secret_name == named.get("secretName")
    ask(credentials)
    [request] = wired.wire.requests
    assert request.target.endswith("/namespaces/team/serviceaccounts/deployer/token")
    bound = json.loads(request.body)["spec"].get("boundObjectRef")
    expected = {"apiVersion": "v1", "kind": "Secret", "name": ANCHOR} if named else None
    assert bound == expected
    assert exchanged(wired) == OIDC


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"token": OIDC}, "ServiceAccount", id="no names"),
        pytest.param({"token": OIDC, "serviceAccount": "bot"}, "namespace", id="account only"),
        pytest.param(
            {"token": OIDC, "namespace": "a/b", "serviceAccount": "c"}, "namespace", id="a/b"
        ),
        pytest.param({"token": OIDC, **NAMES, "secretName": "../x"}, "secretName", id="../x"),
        pytest.param({"token": {"variable": "NOT_THERE"}, **NAMES}, "NOT_THERE", id="variable"),
        pytest.param({"token": GITHUB}, "namespace.*serviceAccount", id="github"),
        pytest.param({"token": "hello", **NAMES}, "three parts, .* 1", id="one part"),
    ],
)
def test_an_invalid_federation_is_refused_before_any_request(
    wired: CredentialsAtDoor, changes: dict[str, object], expected: str
) -> None:
    with raises(CredentialsError, match=expected) as raised:
        wired(lambda _: token_answer(), **changes)
    assert raised.value.hint


@pytest.mark.parametrize(
    "refusal",
    [
        status_answer(401, "Unauthorized"),
        status_answer(
            403,
            'serviceaccounts "deployer" is forbidden: User "ci:repo:a/b" cannot create '
            'resource "serviceaccounts/token" in API group "" in the namespace "team"',
        ),
    ],
    ids=["401", "403"],
)
def test_a_refused_federation_names_the_missing_configuration(
    wired: CredentialsAtDoor, monkeypatch: pytest.MonkeyPatch, refusal: bytes
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    with raises(ExchangeRefusedError, match="team/deployer") as raised:
        wired(lambda _: refusal, token={"variable": "CI_TOKEN"}, **NAMES).token()
    assert "daypass identity federate" in raised.value.hint
    lines = ["iss: https://ci.example.com", "sub: repo:a/b", "aud: none"]
    assert raised.value.hint.splitlines()[-4:-1] == lines


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "a\x1b[2J\nb", "sub": ["s"], "aud": "x"},
         ["iss: a [2J b", "sub: ['s']", "aud: x"]),
        ({"sub": "s" * 2_000, "aud": ["a"] * 1_000},
         ["iss: none", f"sub: {'s' * 256}", f"aud: {str(['a'] * 100)[:256]}"]),
    ],
    ids=["control characters", "long"],
)  # fmt: skip
def test_claims_of_a_refused_subject_token_are_lines_of_bounded_length(
    wired: CredentialsAtDoor,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, Any],
    expected: list[str],
) -> None:
    monkeypatch.setenv("CI_TOKEN", jwt({**claims, "exp": int(NOON) + 300}))
    refusal = status_answer(401, "Unauthorized")
    with raises(ExchangeRefusedError) as raised:
        wired(lambda _: refusal, token={"variable": "CI_TOKEN"}, **NAMES).token()
    assert raised.value.hint.splitlines()[-4:-1] == expected


# -- GitHub Actions


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:9/idtoken/x?api-version=2")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "eyJ" + SENTINEL)


def github_first(first: bytes | Exception) -> Callable[[HttpRequest], bytes | Exception]:
    return lambda request: first if request.method == "GET" else token_answer()


POLICY = (
    "serviceaccounts \"deployer\" is forbidden: ValidatingAdmissionPolicy 'daypass' with binding"
    " 'daypass' denied request: binding: bind it to an anchor"
)


@pytest.mark.parametrize(
    ("refusal", "named", "expected"),
    [
        (status_answer(404, f'secrets "{ANCHOR}" not found'), {"secretName": ANCHOR}, "revoked"),
        (status_answer(403, POLICY), {}, "no Secret"),
    ],
    ids=["a deleted anchor", "an earlier file"],
)
def test_a_federation_without_its_anchor_names_whom_to_ask_and_is_tried_once(
    wired: CredentialsAtDoor,
    monkeypatch: pytest.MonkeyPatch,
    refusal: bytes,
    named: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setenv("CI_TOKEN", OIDC)
    with raises(ExchangeRefusedError) as raised:
        wired(lambda _: refusal, token={"variable": "CI_TOKEN"}, **NAMES, **named).token()
    assert expected in raised.value.hint
    assert "administrator" in raised.value.hint
    assert "daypass identity federate" in raised.value.hint
    assert len(wired.wire.requests) == 1


@pytest.mark.usefixtures("job")
def test_the_request_to_github_is_that_of_its_toolkit(wired: CredentialsAtDoor, ask: Ask) -> None:
    given = answer(200, json.dumps({"count": 1, "value": OIDC}))
    ask(wired(github_first(given), token=GITHUB, **NAMES))
    get, post = wired.wire.requests
    assert get.target == ("/idtoken/x?api-version=2&audience=https%3A%2F%2Fekf.example.com%2Fa%26b")
    assert ("Authorization", f"Bearer eyJ{SENTINEL}") in get.headers
    assert ("Host", "127.0.0.1:9") in get.headers
    assert post.method == "POST"
    assert exchanged(wired) == OIDC


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (answer(401, f"no: {OIDC}"), CredentialsError, "401"),
        (answer(200, "{}"), CredentialsError, "GitHub"),
        (answer(200, "[" * 90_000), CredentialsError, "GitHub"),
        (answer(200, json.dumps({"value": "eyJ" + SENTINEL})), CredentialsError, "GitHub"),
        (answer(200, '{"value": "x"}'), CredentialsError, "three parts, .* 1"),
        (answer(503), DoorUnreachableError, "503"),
    ],
    ids=["401", "empty", "nested", "echo", "one part", "503"],
)
def test_an_error_answer_of_github_is_reported(
    wired: CredentialsAtDoor, given: bytes, kind: type[Exception], expected: str
) -> None:
    with raises(kind, match=expected) as raised:
        wired(github_first(given), token=GITHUB, **NAMES).token()
    assert OIDC[30:60] not in str(raised.value)
    assert SENTINEL not in str(raised.value)


@pytest.mark.usefixtures("job")
def test_github_is_requested_again_until_the_tries_are_over(
    wired: CredentialsAtDoor, ask: Ask
) -> None:
    refused = TransportError(CONNECT, Route(target=HostPort("127.0.0.1", 9)))
    refused.__cause__ = ConnectionRefusedError()
    with raises(DoorUnreachableError, match=r"127\.0\.0\.1:9\b.*GitHub"):
        ask(wired(github_first(refused), token=GITHUB, **NAMES))
    assert len(wired.wire.requests) == TRIES


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        ("", "x", "ACTIONS_ID_TOKEN_REQUEST_URL"),
        ("https://a/b", "", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
        ("http://a.example.com/b", "x", "https"),
    ],
    ids=["no url", "no token", "http"],
)
def test_a_job_without_permission_for_a_token_gets_the_permission_to_add(
    wired: CredentialsAtDoor, monkeypatch: pytest.MonkeyPatch, url: str, token: str, expected: str
) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token)
    with raises(CredentialsError, match=expected) as raised:
        wired(lambda _: token_answer(), token=GITHUB, **NAMES).token()
    assert "id-token: write" in raised.value.hint
    assert wired.wire.requests == []
