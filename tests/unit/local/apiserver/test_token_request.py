"""TokenRequest on the embedded API server, in addition to the contract tests."""

from __future__ import annotations

import pytest

from unit.local.apiserver.environment import TEAM, TOKEN_PATH, Env


@pytest.mark.parametrize(
    ("body", "media", "code", "words"),
    [
        (b'{"x":' + b"[" * 20_000, "application/json", 400, "exceeded max depth"),
        (b"a: b", "application/yaml", 415, "application/json, application/vnd.kubernetes.protobuf"),
        (b'{"spec":{"expirationSeconds":' + b"9" * 5000 + b"}}", "", 400, "parse error"),
    ],
    ids=["deep JSON", "YAML", "long number"],
)
def test_an_invalid_body_gets_a_status(
    env: Env, body: bytes, media: str, code: int, words: str
) -> None:
    reply = env.request("POST", TOKEN_PATH, body, media=media)
    assert reply.code == code
    assert words in reply.message


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/x/..{TOKEN_PATH}", 404),
        (f"/{TOKEN_PATH}", 404),
        (TOKEN_PATH.replace("/token", "%2Ftoken"), 400),
        (f"{TOKEN_PATH}/x", 404),
        ("/api/v1//namespaces/team/serviceaccounts/bot/token", 404),
        ("/api/v1/namespaces/team/../team/serviceaccounts/bot/token", 404),
        (f"{TOKEN_PATH}%zz", 400),
        (f"{TEAM}/serviceaccounts/%2e%2e/token", 400),
        ("/api/v1/namespaces//serviceaccounts/bot/token", 404),
        (f"{TOKEN_PATH}%0a", 404),
    ],
)
def test_dots_slashes_and_escapes_are_not_normalised(env: Env, path: str, code: int) -> None:
    assert env.request("POST", path, {}).code == code


@pytest.mark.parametrize("kind", ["Pod", "Node", "ConfigMap", "ServiceAccount", "secret", ""])
def test_a_token_can_be_bound_to_a_secret_only(env: Env, kind: str) -> None:
    reference = {"kind": kind, "apiVersion": "v1", "name": "bot-token"}
    reply = env.request("POST", TOKEN_PATH, {"spec": {"boundObjectRef": reference}})
    assert (reply.code, reply.json["reason"]) == (400, "BadRequest")
    assert f"Kind={kind}" in reply.message
