"""Authentication, lifetimes and invalidation of tokens, with a fake clock."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jwt.utils import base64url_encode

from daypass._core.jwt import decode_unverified
from daypass.kube.resources import SECRETS
from daypass.local.apiserver.tokens import SigningKey
from unit.local.apiserver.environment import TEAM, TOKEN_PATH, Env, token_secret

SECRET = {"kind": "Secret", "apiVersion": "v1", "name": "bot-token"}


def test_a_token_is_accepted_for_a_minute_after_its_expiry(env: Env) -> None:
    token = env.mint(expirationSeconds=600)
    env.clock.advance(660)
    assert env.review(token)["authenticated"] is True
    env.clock.advance(11)
    assert "service account token has expired" in env.review(token)["error"]


def test_a_recreated_secret_revives_only_the_long_lived_token(env: Env) -> None:
    """As in Kubernetes: nothing in a long-lived token changes with its Secret's UID, so the token
    is made again byte for byte. Hence a name is never used twice.
    """
    token, legacy = env.mint(boundObjectRef=SECRET), env.legacy
    env.cluster.delete(SECRETS, "bot-token", "team")
    env.cluster.create(token_secret())
    env.clock.advance(11)
    assert "does not match service account secret ref claim" in env.review(token)["error"]
    assert env.legacy == legacy
    assert env.review(legacy)["authenticated"] is True


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"alg": "none"}, "error in cryptographic primitive"),
        ({"alg": "HS256"}, "error in cryptographic primitive"),
        ({"kid": "other"}, "invalid signature, no keys found"),
        ({"kid": None}, "error in cryptographic primitive"),
    ],
)
def test_other_algorithms_and_keys_are_refused(
    env: Env, changes: dict[str, Any], error: str
) -> None:
    token = env.mint()
    header = {**decode_unverified(token)[0], **changes}
    kept = {name: value for name, value in header.items() if value is not None}
    _, body, signature = token.split(".")
    tampered = f"{base64url_encode(json.dumps(kept).encode()).decode()}.{body}.{signature}"
    assert error in env.review(tampered)["error"]


def test_a_token_signed_by_another_key_is_refused(env: Env) -> None:
    said = decode_unverified(env.mint())[1]
    assert "error" in env.review(SigningKey.generate().sign(said))
    assert env.review(env.state.issuer.key.sign(said))["authenticated"] is True


@pytest.mark.parametrize("path", [f"/x/..{TOKEN_PATH}", f"{TOKEN_PATH}/x", f"{TOKEN_PATH}%0a"])
def test_dots_slashes_and_escapes_are_not_normalised(env: Env, path: str) -> None:
    assert env.request("POST", path, {}).code == 404


@pytest.mark.parametrize(
    "body",
    [b'{"x":' + b"[" * 20_000, b'{"spec":{"expirationSeconds":' + b"9" * 5000 + b"}}"],
    ids=["deep", "long number"],
)
def test_a_body_that_cannot_be_read_is_a_400(env: Env, body: bytes) -> None:
    assert env.request("POST", TOKEN_PATH, body).code == 400


def test_impersonation_is_refused_even_for_the_administrator(env: Env) -> None:
    """To ignore the header would answer with the permissions of the wrong user."""
    headers = (("impersonate-user", "system:serviceaccount:team:bot"),)
    assert env.request("GET", f"{TEAM}/secrets", headers=headers).code == 400
    refused = env.request("GET", f"{TEAM}/secrets", authorization="Bearer x", headers=headers)
    assert refused.code == 401
