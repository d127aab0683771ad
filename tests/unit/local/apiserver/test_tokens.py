"""Authentication, lifetimes and invalidation of tokens, with a fake clock."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass._core.jwt import decode_unverified
from daypass.local.apiserver.tokens import SigningKey, UnknownKeyError, base64url, bearer
from unit.local.apiserver.world import TEAM, World, claims, token_secret

SECRET = {"kind": "Secret", "apiVersion": "v1", "name": "bot-token"}


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer x", "x"), ("bEARER x", "x"), ("  Bearer x  ", "x"), ("Bearer x junk junk", "x"),
        ("Bearer x,y", "x,y"), ("Bearer\tx", ""), ("Bearer  x", ""), ("Bearer", ""),
        ("Bearer ", ""), ("Basic x", ""), ("x", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_authorization_header_is_parsed_as_in_go(header: str, token: str) -> None:
    assert bearer(header) == token


def test_a_token_is_accepted_for_a_minute_after_its_expiry(world: World) -> None:
    token = world.mint(expirationSeconds=600)
    world.clock.advance(660)
    assert world.review(token)["authenticated"] is True
    world.clock.advance(11)
    assert "service account token has expired" in world.review(token)["error"]


def test_a_recreated_secret_revives_only_the_long_lived_token(world: World) -> None:
    """As in Kubernetes: nothing in a long-lived token changes with its Secret's UID, so the token
    is made again byte for byte. Hence a name is never used twice.
    """
    token, legacy = world.mint(boundObjectRef=SECRET), world.legacy
    world.admin.delete("Secret", "bot-token", "team")
    world.create(token_secret("bot-token", "bot"))
    world.clock.advance(11)
    assert "does not match service account secret ref claim" in world.review(token)["error"]
    assert world.legacy == legacy
    assert world.review(legacy)["authenticated"] is True


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"alg": "none"}, "error in cryptographic primitive"),
        ({"alg": "HS256"}, "error in cryptographic primitive"),
        ({"kid": "other"}, "invalid signature, no keys found"),
        ({"kid": 5}, "invalid signature, no keys found"),
        ({"kid": None}, "error in cryptographic primitive"),
    ],
)
def test_other_algorithms_and_keys_are_refused(
    world: World, changes: dict[str, Any], error: str
) -> None:
    token = world.mint()
    header = {**decode_unverified(token)[0], **changes}
    kept = {name: value for name, value in header.items() if value is not None}
    _, body, signature = token.split(".")
    tampered = f"{base64url(json.dumps(kept).encode())}.{body}.{signature}"
    assert error in world.review(tampered)["error"]


def test_a_token_signed_by_another_key_is_refused(world: World) -> None:
    said = claims(world.mint())
    assert "error" in world.review(SigningKey.generate().sign(said))
    assert world.review(world.state.keys.current.sign(said))["authenticated"] is True


def test_keys_are_rotated_and_retired(world: World) -> None:
    ring = world.state.keys
    old, token = ring.current.kid, world.mint()
    new = ring.rotate()
    jwks = world.request("GET", "/openid/v1/jwks").document["keys"]
    assert [key["kid"] for key in jwks] == [new, old]
    assert world.review(token)["authenticated"] is True
    assert world.review(world.mint())["authenticated"] is True
    with pytest.raises(UnknownKeyError):
        ring.retire(new)
    ring.retire(old)
    world.clock.advance(11)
    assert "no keys found" in world.review(token)["error"]
    with pytest.raises(UnknownKeyError):
        ring.retire(old)


@pytest.mark.parametrize("name", ["impersonate-user", "impersonate-group", "impersonate-uid"])
def test_impersonation_is_refused_even_for_the_administrator(world: World, name: str) -> None:
    """To ignore the header would answer with the permissions of the wrong user."""
    headers = ((name, "system:serviceaccount:team:bot"),)
    assert world.request("GET", f"{TEAM}/secrets", headers=headers).code == 400
    refused = world.request("GET", f"{TEAM}/secrets", authorization="Bearer x", headers=headers)
    assert refused.code == 401


def test_a_pod_bound_token_of_an_older_version_is_refused(world: World) -> None:
    said = claims(world.mint())
    said["kubernetes.io"]["pod"] = {"name": "p", "uid": "u"}
    token = world.state.keys.current.sign(said)
    assert "service account token has been invalidated" in world.review(token)["error"]
