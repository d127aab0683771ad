"""Authentication, lifetimes and invalidation of tokens, with a fake clock."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from daypass.local.apiserver.tokens import SigningKey, UnknownKeyError, base64url, bearer
from unit.local.apiserver.world import GATE, TEAM, World, claims, token_secret

SECRET = {"kind": "Secret", "apiVersion": "v1", "name": "bot-token"}


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer x", "x"),
        ("bEARER x", "x"),
        ("  Bearer x  ", "x"),
        ("Bearer x junk junk", "x"),
        ("Bearer x,y", "x,y"),
        ("Bearer\tx", ""),
        ("Bearer  x", ""),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic x", ""),
        ("x", ""),
        ("", ""),
    ],
)
def test_the_authorization_header_is_parsed_as_in_go(header: str, token: str) -> None:
    assert bearer(header) == token


def test_a_token_is_accepted_for_a_minute_after_its_expiry(world: World) -> None:
    token = world.mint(expirationSeconds=600)
    world.clock.advance(660)
    assert world.review(token)["authenticated"] is True
    world.clock.advance(11)
    assert "service account token has expired" in world.review(token)["error"]


def test_an_authentication_is_cached_for_ten_seconds_and_not_renewed(world: World) -> None:
    token = world.mint(boundObjectRef=SECRET)
    assert world.review(token)["authenticated"] is True
    world.admin.delete("Secret", "bot-token", "team")
    world.clock.advance(9)
    assert world.review(token)["authenticated"] is True
    world.clock.advance(1.1)
    assert "service account token has been invalidated" in world.review(token)["error"]


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


def _tampered(token: str, header: Callable[[dict[str, str]], dict[str, str]]) -> str:
    head, body, signature = token.split(".")
    kid = json.loads(_decode(head))["kid"]
    tampered = base64url(json.dumps(header({"alg": "RS256", "kid": kid})).encode())
    return f"{tampered}.{body}.{signature}"


def _decode(part: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(part + "==")


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (lambda head: {**head, "alg": "none"}, "error in cryptographic primitive"),
        (lambda head: {**head, "alg": "HS256"}, "error in cryptographic primitive"),
        (lambda head: {**head, "kid": "other"}, "invalid signature, no keys found"),
        (lambda head: {**head, "kid": 5}, "invalid signature, no keys found"),
        (lambda head: {"alg": head["alg"]}, "error in cryptographic primitive"),
    ],
)
def test_other_algorithms_and_keys_are_refused(
    world: World, header: Callable[[dict[str, str]], dict[str, str]], error: str
) -> None:
    assert error in world.review(_tampered(world.mint(), header))["error"]


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


def test_a_token_with_a_leading_space_is_reviewed_as_anonymous(world: World) -> None:
    """As in Kubernetes: authenticated, as system:anonymous, for whatever audience is reply."""
    status = world.review(" x", GATE)
    assert status["user"]["username"] == "system:anonymous"
    assert (status["authenticated"], status["audiences"]) == (True, [GATE])
