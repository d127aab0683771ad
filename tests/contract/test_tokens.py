"""The claims of short-lived and long-lived tokens, and the users that they authenticate."""

from __future__ import annotations

import base64
import re
import uuid

import pytest

from contract.calls import (
    GATE,
    claims,
    is_authenticated,
    issued_token,
    request_token,
    review,
)
from contract.interface import ApiServer
from daypass._core.clock import SYSTEM_CLOCK, utc
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support import identities
from support.deadline import eventually
from support.identities import Identity

FLAT = "kubernetes.io/serviceaccount"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"


def test_a_short_lived_token_has_the_standard_claims(api_server: ApiServer, bot: Identity) -> None:
    token = claims(issued_token(request_token(api_server, bot, audiences=[GATE])))
    assert set(token) == {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "kubernetes.io"}
    assert token["iss"] == api_server.issuer
    assert token["sub"] == f"system:serviceaccount:{bot.namespace}:bot"
    assert token["aud"] == [GATE]
    assert token["iat"] == token["nbf"] < token["exp"]
    assert abs(token["iat"] - SYSTEM_CLOCK.unix()) < 60


def test_a_short_lived_token_names_its_namespace_and_service_account_with_uid(
    api_server: ApiServer, bot: Identity
) -> None:
    assert claims(issued_token(request_token(api_server, bot)))["kubernetes.io"] == {
        "namespace": bot.namespace,
        "serviceaccount": {"name": "bot", "uid": bot.service_account_uid},
    }


def test_a_bound_token_names_its_secret_with_uid(api_server: ApiServer, bot: Identity) -> None:
    token = issued_token(request_token(api_server, bot, boundObjectRef=bot.bound_object_ref))
    assert claims(token)["kubernetes.io"] == {
        "namespace": bot.namespace,
        "serviceaccount": {"name": "bot", "uid": bot.service_account_uid},
        "secret": {"name": bot.secret_name, "uid": bot.secret_uid},
    }


def test_each_short_lived_token_has_a_unique_id(api_server: ApiServer, bot: Identity) -> None:
    ids = {uuid.UUID(claims(issued_token(request_token(api_server, bot)))["jti"]) for _ in range(2)}
    assert len(ids) == 2


def test_the_header_names_algorithm_and_key(api_server: ApiServer, bot: Identity) -> None:
    header, _ = decode_unverified(issued_token(request_token(api_server, bot)).reveal())
    assert set(header) == {"alg", "kid"}
    assert re.fullmatch(r"RS256|ES256|ES384|ES512", header["alg"])


def test_a_long_lived_token_has_flat_claims_and_no_expiry(bot: Identity) -> None:
    assert claims(bot.token) == {
        "iss": "kubernetes/serviceaccount",
        "sub": bot.user,
        f"{FLAT}/namespace": bot.namespace,
        f"{FLAT}/secret.name": bot.secret_name,
        f"{FLAT}/service-account.name": "bot",
        f"{FLAT}/service-account.uid": bot.service_account_uid,
    }


def test_a_token_secret_contains_the_token_the_certificate_authority_and_the_namespace(
    api_server: ApiServer, bot: Identity
) -> None:
    secret = api_server.admin.get(bot.secret_path)
    assert set(secret["data"]) == {"token", "ca.crt", "namespace"}
    assert base64.b64decode(secret["data"]["namespace"]).decode() == bot.namespace
    assert base64.b64decode(secret["data"]["ca.crt"]).decode() == api_server.ca_pem
    uid = secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    assert uid == bot.service_account_uid


def test_a_manually_created_token_secret_is_not_listed_in_the_service_account(
    api_server: ApiServer, bot: Identity
) -> None:
    """The cleaner of unused tokens works on listed ones only."""
    path = f"/api/v1/namespaces/{bot.namespace}/serviceaccounts/bot"
    assert "secrets" not in api_server.admin.get(path)


@pytest.mark.parametrize("audiences", [None, [], "the issuer's"])
def test_a_long_lived_token_is_valid_for_the_api_server(
    api_server: ApiServer, bot: Identity, audiences: list[str] | str | None
) -> None:
    wanted = [api_server.issuer] if isinstance(audiences, str) else audiences
    status = review(api_server, bot.token, audiences=wanted)
    assert status["authenticated"] is True
    assert status["audiences"] == [api_server.issuer]


def test_a_long_lived_token_is_valid_for_no_other_audience(
    api_server: ApiServer, bot: Identity
) -> None:
    assert "authenticated" not in review(api_server, bot.token, audiences=[GATE])


def test_both_kinds_of_token_authenticate_the_service_account_with_its_groups(
    api_server: ApiServer, bot: Identity
) -> None:
    for token in (bot.token, issued_token(request_token(api_server, bot))):
        user = review(api_server, token)["user"]
        assert user["username"] == bot.user
        assert user["uid"] == bot.service_account_uid
        assert set(user["groups"]) == {
            "system:serviceaccounts",
            f"system:serviceaccounts:{bot.namespace}",
            "system:authenticated",
        }


def test_only_a_short_lived_token_has_a_credential_id(api_server: ApiServer, bot: Identity) -> None:
    token = issued_token(request_token(api_server, bot, boundObjectRef=bot.bound_object_ref))
    extra = review(api_server, token)["user"]["extra"]
    assert extra == {CREDENTIAL_ID: [f"JTI={claims(token)['jti']}"]}
    assert "extra" not in review(api_server, bot.token)["user"]


def test_use_of_a_long_lived_token_labels_its_secret_with_the_day(
    api_server: ApiServer, bot: Identity
) -> None:
    assert LAST_USED not in api_server.admin.get(bot.secret_path)["metadata"].get("labels", {})
    days = {utc(SYSTEM_CLOCK.unix()).date().isoformat()}
    assert is_authenticated(api_server, bot.token)

    def label() -> str | None:
        labels = api_server.admin.get(bot.secret_path)["metadata"].get("labels", {})
        used: str | None = labels.get(LAST_USED)
        return used

    used = eventually("the label of use", label)
    days.add(utc(SYSTEM_CLOCK.unix()).date().isoformat())
    assert used in days


def test_a_token_is_invalid_while_its_secret_is_labelled_invalid(
    api_server: ApiServer, bot: Identity
) -> None:
    def label(value: str | None) -> None:
        patch = {"metadata": {"labels": {INVALID_SINCE: value}}}
        api_server.admin.patch(bot.secret_path, patch)

    label("2026-01-01")
    eventually("the token fails", lambda: not is_authenticated(api_server, bot.token))
    assert "invalid" in review(api_server, bot.token)["error"]
    label(None)
    eventually("the token is good again", lambda: is_authenticated(api_server, bot.token))


def test_two_secrets_of_one_service_account_contain_two_valid_tokens(
    api_server: ApiServer, bot: Identity
) -> None:
    again = identities.make_identity(api_server.admin, bot.namespace, "bot", authorize=False)
    assert again.token != bot.token
    assert is_authenticated(api_server, bot.token)
    assert is_authenticated(api_server, again.token)


def test_a_token_with_a_tampered_signature_is_refused(api_server: ApiServer, bot: Identity) -> None:
    head, middle, signature = issued_token(request_token(api_server, bot)).reveal().split(".")
    tampered = Secret(f"{head}.{middle}.{'A' * len(signature)}")
    assert not is_authenticated(api_server, tampered)
