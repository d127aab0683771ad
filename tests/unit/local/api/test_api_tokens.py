"""Who is who, how long, and what ends a token, by a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from daypass.local.api.authentication import bearer
from daypass.local.api.keys import SigningKey, UnknownKeyError, encode
from daypass.local.api.tokens import INVALID_SINCE, LAST_USED
from unit.local.api.asking import GATE, ISSUER, TEAM, TOKEN_PATH, World, claims, token_secret

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
def test_a_header_is_read_as_go_reads_it(header: str, token: str) -> None:
    assert bearer(header)[0] == token


def test_two_spaces_make_a_request_anonymous_and_warn(world: World) -> None:
    asked = world.who(f"Bearer  {world.legacy}")
    assert asked.code == 403
    assert 'User "system:anonymous" cannot create' in asked.message
    assert len(asked.warnings) == 1


def test_a_bad_token_is_a_401_without_details(world: World) -> None:
    asked = world.who("Bearer x")
    assert (asked.code, asked.message) == (401, "Unauthorized")


def test_without_anonymous_access_no_credentials_are_a_401() -> None:
    assert World(anonymous=False).ask("GET", "/version", authorization="").code == 401


def test_a_token_is_good_for_a_minute_beyond_its_end(world: World) -> None:
    token = world.mint(expirationSeconds=600)
    world.clock.advance(660)
    assert world.review(token)["authenticated"] is True
    world.clock.advance(11)
    assert "service account token has expired" in world.review(token)["error"]


def test_a_good_answer_is_kept_for_ten_seconds_and_use_does_not_renew_it(world: World) -> None:
    token = world.mint(boundObjectRef=SECRET)
    assert world.review(token)["authenticated"] is True
    world.admin.delete("Secret", "bot-token", "team")
    world.clock.advance(9)
    assert world.review(token)["authenticated"] is True
    world.clock.advance(1.1)
    assert "service account token has been invalidated" in world.review(token)["error"]


def test_a_secret_made_again_under_its_name_revives_the_long_lived_token_alone(
    world: World,
) -> None:
    """As in Kubernetes: nothing in a long-lived token changes with its Secret's UID, so the token
    is made again byte for byte. Hence a name is never used twice.
    """
    token, legacy = world.mint(boundObjectRef=SECRET), world.legacy
    world.admin.delete("Secret", "bot-token", "team")
    world.admin.create(token_secret("bot-token", "bot"))
    world.clock.advance(11)
    assert "does not match service account secret ref claim" in world.review(token)["error"]
    assert world.legacy == legacy
    assert world.review(legacy)["authenticated"] is True


def test_an_account_made_again_has_another_uid_and_old_tokens_end(world: World) -> None:
    token = world.mint()
    world.admin.delete("ServiceAccount", "bot", "team")
    assert "not found" in world.review(token)["error"]
    account = {"kind": "ServiceAccount", "apiVersion": "v1"}
    world.admin.create({**account, "metadata": {"name": "bot", "namespace": "team"}})
    assert "does not match claim" in world.review(token)["error"]


def test_audiences_are_those_asked_for_that_the_token_has(world: World) -> None:
    token = world.mint(audiences=["a", "b"])
    assert world.review(token, "b", "c", "a")["audiences"] == ["b", "a"]
    error = world.review(token)["error"]
    assert f'token audiences ["a" "b"] is invalid for the target audiences ["{ISSUER}"]' in error
    assert world.who(f"Bearer {token}").code == 401


def test_a_long_lived_token_is_for_the_api_server_only(world: World) -> None:
    assert world.review(world.legacy)["audiences"] == [ISSUER]
    assert "error" in world.review(world.legacy, GATE)


def test_use_of_a_long_lived_token_labels_its_secret(world: World) -> None:
    world.review(world.legacy)
    labels = world.admin.get("Secret", "bot-token", "team")["metadata"]["labels"]
    assert labels == {LAST_USED: "2027-01-15"}


def test_a_secret_marked_invalid_ends_its_token(world: World) -> None:
    world.admin.request(
        "PATCH",
        f"{TEAM}/secrets/bot-token",
        {"metadata": {"labels": {INVALID_SINCE: "2027-01-01"}}},
        "application/merge-patch+json",
    )
    assert "has been marked invalid" in world.review(world.legacy)["error"]


def _bent(token: str, header: Callable[[dict[str, str]], dict[str, str]]) -> str:
    head, body, signature = token.split(".")
    kid = json.loads(_decode(head))["kid"]
    bent = encode(json.dumps(header({"alg": "RS256", "kid": kid})).encode())
    return f"{bent}.{body}.{signature}"


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
def test_no_other_algorithm_and_no_other_key_is_believed(
    world: World, header: Callable[[dict[str, str]], dict[str, str]], error: str
) -> None:
    assert error in world.review(_bent(world.mint(), header))["error"]


def test_a_token_by_a_foreign_key_is_refused_whatever_it_says(world: World) -> None:
    said = claims(world.mint())
    assert "error" in world.review(SigningKey.generate().sign(said))
    assert world.review(world.api.cluster.keys.current.sign(said))["authenticated"] is True


def test_keys_are_rotated_and_retired(world: World) -> None:
    ring = world.api.cluster.keys
    old, token = ring.current.kid, world.mint()
    new = ring.rotate()
    jwks = world.ask("GET", "/openid/v1/jwks").document["keys"]
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


def test_who_may_impersonate_acts_with_the_others_rights_alone(world: World) -> None:
    headers = (("impersonate-user", "system:serviceaccount:team:bot"),)
    assert world.ask("POST", TOKEN_PATH, {}, headers=headers).code == 201
    refused = world.ask("GET", f"{TEAM}/secrets", headers=headers)
    assert 'User "system:serviceaccount:team:bot" cannot list' in refused.message


def test_who_may_not_impersonate_is_refused_whatever_they_have_themselves(world: World) -> None:
    authorization, headers = f"Bearer {world.legacy}", (("impersonate-user", "jane"),)
    refused = world.ask("POST", TOKEN_PATH, {}, authorization=authorization, headers=headers)
    assert refused.code == 403
    assert "cannot impersonate-on:user-info:create" in refused.message
    headers = (("impersonate-group", "system:masters"),)
    assert (
        world.ask("POST", TOKEN_PATH, {}, authorization=authorization, headers=headers).code == 400
    )


def test_a_review_of_a_token_that_begins_with_a_space_is_of_nobody(world: World) -> None:
    """As in Kubernetes: authenticated, as system:anonymous, for whatever audience is asked."""
    status = world.review(" x", GATE)
    assert status["user"]["username"] == "system:anonymous"
    assert (status["authenticated"], status["audiences"]) == (True, [GATE])


def test_the_requester_needs_the_right_and_the_name_counts(world: World) -> None:
    authorization = f"Bearer {world.legacy}"
    world.grant({"resources": ["serviceaccounts/token"], "verbs": ["create"],
                 "resourceNames": ["other"]})  # fmt: skip
    asked = world.ask("POST", TOKEN_PATH, {}, authorization=authorization)
    assert asked.code == 403
    assert asked.message == (
        'serviceaccounts "bot" is forbidden: User "system:serviceaccount:team:bot" cannot create '
        'resource "serviceaccounts/token" in API group "" in the namespace "team"'
    )
