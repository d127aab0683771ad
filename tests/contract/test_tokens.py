"""Short-lived and long-lived tokens: what they contain, for how long, and the published keys."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from datetime import datetime

import pytest

from contract.calls import (
    GATE,
    JWKS,
    ApiServer,
    bearer,
    claims,
    is_authenticated,
    issued_token,
    only_kubernetes,
    post,
    request_token,
    review,
    send,
    signature_is_good,
    token_request,
)
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support import identities
from support.controlplane import LONGEST_LIFETIME_SECONDS
from support.deadline import eventually
from support.identities import Identity
from support.tokens import ISSUER

FLAT = "kubernetes.io/serviceaccount"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
CONFIGURATION = "/.well-known/openid-configuration"
ONE_YEAR_SECONDS = 365 * 24 * 3600


def lifetime(token: Mapping[str, int]) -> int:
    return token["exp"] - token["iat"]


def test_a_token_request_is_answered_by_201_and_what_is_granted(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = request_token(api_server, bot)
    assert (answer.code, answer.all("content-type")) == (201, ["application/json"])
    assert answer.json["kind"] == "TokenRequest"
    assert answer.json["apiVersion"] == "authentication.k8s.io/v1"
    metadata, spec = answer.json["metadata"], answer.json["spec"]
    assert (metadata["name"], metadata["namespace"]) == (bot.service_account, bot.namespace)
    assert (spec["audiences"], spec["expirationSeconds"]) == ([ISSUER], 3600)
    stamp = datetime.fromisoformat(answer.json["status"]["expirationTimestamp"])
    assert stamp.timestamp() == claims(answer)["exp"]


def test_a_short_lived_token_has_the_standard_claims(api_server: ApiServer, bot: Identity) -> None:
    tokens = [issued_token(request_token(api_server, bot)) for _ in range(2)]
    header, _ = decode_unverified(tokens[0].reveal())
    assert set(header) == {"alg", "kid"}
    assert re.fullmatch(r"RS256|ES256|ES384|ES512", header["alg"])
    token, other = map(claims, tokens)
    assert abs(token["iat"] - SYSTEM_CLOCK.unix()) < 60
    assert uuid.UUID(token.pop("jti")) != uuid.UUID(other["jti"])
    assert token == {
        "iss": ISSUER, "sub": bot.user, "aud": [ISSUER],
        "iat": token["iat"], "nbf": token["iat"], "exp": token["iat"] + 3600,
        "kubernetes.io": {
            "namespace": bot.namespace,
            "serviceaccount": {"name": "bot", "uid": bot.service_account_uid},
        },
    }  # fmt: skip


@pytest.mark.parametrize("seconds", [600, LONGEST_LIFETIME_SECONDS])
def test_a_lifetime_of_ten_minutes_to_the_longest_is_granted_without_a_warning(
    api_server: ApiServer, bot: Identity, seconds: int
) -> None:
    answer = request_token(api_server, bot, expirationSeconds=seconds)
    assert (lifetime(claims(answer)), answer.warnings) == (seconds, [])


def test_a_longer_lifetime_is_shortened(api_server: ApiServer, bot: Identity) -> None:
    answer = request_token(api_server, bot, expirationSeconds=2**32)
    assert lifetime(claims(answer)) == LONGEST_LIFETIME_SECONDS
    assert answer.json["spec"]["expirationSeconds"] == LONGEST_LIFETIME_SECONDS


@only_kubernetes("the embedded one does not warn")
def test_a_longer_lifetime_is_shortened_with_a_warning(
    api_server: ApiServer, bot: Identity
) -> None:
    limit = LONGEST_LIFETIME_SECONDS
    answer = request_token(api_server, bot, expirationSeconds=limit + 1)
    expected = f'299 - "requested expiration of {limit + 1} seconds shortened to {limit} seconds"'
    assert answer.warnings == [expected]


def test_a_token_can_be_bound_to_any_secret_of_the_namespace(
    api_server: ApiServer, bot: Identity
) -> None:
    password = api_server.admin.create(
        f"/api/v1/namespaces/{bot.namespace}/secrets",
        {"metadata": {"name": "password"}, "stringData": {"password": "x"}},
    )
    other = identities.make_identity(api_server.admin, bot.namespace, "other")
    for name, uid in (
        (bot.secret_name, bot.secret_uid),
        (other.secret_name, other.secret_uid),
        ("password", password["metadata"]["uid"]),
    ):
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name}
        token = claims(request_token(api_server, bot, boundObjectRef=reference))
        assert token["sub"] == bot.user
        assert token["kubernetes.io"]["secret"] == {"name": name, "uid": uid}


def test_binding_reveals_whether_a_secret_exists_without_permission_to_read_it(
    api_server: ApiServer, bot: Identity
) -> None:
    """There is no authorization of the caller for the bound object: 201, 404 and 409 tell."""
    assert send(api_server, "GET", bot.secret_path, headers=[bearer(bot.token)]).code == 403
    reference = bot.bound_object_ref
    codes = [
        request_token(api_server, bot, boundObjectRef={**reference, **change}).code
        for change in ({}, {"name": "absent"}, {"uid": "another"})
    ]
    assert codes == [201, 404, 409]


@only_kubernetes("Pods and Nodes belong to kubelets")
def test_a_token_can_be_bound_to_a_pod_or_a_node_and_only_for_a_pod_it_may_last_a_year(
    api_server: ApiServer, bot: Identity
) -> None:
    """No external client has a Pod; a policy that wants the Secret bound refuses it."""
    uid = identities.make_pod(api_server.admin, bot.namespace, "runner", service_account="bot")
    name = identities.unique("node")
    node = api_server.admin.create("/api/v1/nodes", {"metadata": {"name": name}})
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "runner"}
    token = claims(request_token(api_server, bot, boundObjectRef=pod))
    assert token["kubernetes.io"]["pod"] == {"name": "runner", "uid": uid}
    reference = {**pod, "kind": "Node", "name": name}
    token = claims(request_token(api_server, bot, boundObjectRef=reference))
    assert token["kubernetes.io"]["node"] == {"name": name, "uid": node["metadata"]["uid"]}

    def granted(seconds: int, **spec: object) -> int:
        return lifetime(claims(request_token(api_server, bot, expirationSeconds=seconds, **spec)))

    assert granted(3607, boundObjectRef=pod) == ONE_YEAR_SECONDS
    assert granted(3608, boundObjectRef=pod) == 3608
    assert granted(3607, boundObjectRef=pod, audiences=[GATE]) == 3607
    assert granted(3607, boundObjectRef=bot.bound_object_ref) == 3607
    assert granted(3607) == 3607


def test_rbac_can_allow_the_tokens_of_one_service_account_by_its_name(
    api_server: ApiServer, bot: Identity
) -> None:
    """`resourceNames` holds for `create` here, because the name is in the URL."""
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    path = identities.token_path(bot.namespace, "other")
    assert request_token(api_server, bot).code == 201
    refused = post(api_server, path, token_request(), token=bot.token)
    assert (refused.code, refused.message) == (
        403,
        f'serviceaccounts "other" is forbidden: User "{bot.user}" cannot create resource '
        f'"serviceaccounts/token" in API group "" in the namespace "{bot.namespace}"',
    )


def test_a_dry_run_returns_a_valid_token(api_server: ApiServer, bot: Identity) -> None:
    target = f"{bot.token_path}?dryRun=All"
    answer = post(api_server, target, token_request(), token=bot.token)
    assert is_authenticated(api_server, issued_token(answer))


def test_only_a_short_lived_token_for_the_api_server_can_request_another(
    api_server: ApiServer, bot: Identity
) -> None:
    for audiences, code in (([], 201), ([GATE], 401)):
        first = issued_token(request_token(api_server, bot, audiences=audiences))
        assert post(api_server, bot.token_path, token_request(), token=first).code == code


def test_a_long_lived_token_has_flat_claims_and_no_expiry(bot: Identity) -> None:
    assert claims(bot.token) == {
        "iss": "kubernetes/serviceaccount",
        "sub": bot.user,
        f"{FLAT}/namespace": bot.namespace,
        f"{FLAT}/secret.name": bot.secret_name,
        f"{FLAT}/service-account.name": "bot",
        f"{FLAT}/service-account.uid": bot.service_account_uid,
    }


def test_a_token_secret_is_filled_and_not_listed_in_its_service_account(
    api_server: ApiServer, bot: Identity
) -> None:
    """The cleaner of unused tokens works on listed ones only."""
    secret = api_server.admin.get(bot.secret_path)
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert data == {
        "token": bot.token.reveal(), "ca.crt": api_server.ca_pem, "namespace": bot.namespace,
    }  # fmt: skip
    uid = secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    assert uid == bot.service_account_uid
    path = f"/api/v1/namespaces/{bot.namespace}/serviceaccounts/bot"
    assert "secrets" not in api_server.admin.get(path)


def test_both_kinds_of_token_authenticate_the_service_account_with_its_groups(
    api_server: ApiServer, bot: Identity, token: Secret
) -> None:
    for each in (bot.token, token):
        user = review(api_server, each)["user"]
        assert (user["username"], user["uid"]) == (bot.user, bot.service_account_uid)
        assert set(user["groups"]) == {
            "system:serviceaccounts", f"system:serviceaccounts:{bot.namespace}",
            "system:authenticated",
        }  # fmt: skip
    extra = review(api_server, token)["user"]["extra"]
    assert extra == {CREDENTIAL_ID: [f"JTI={claims(token)['jti']}"]}
    assert "extra" not in review(api_server, bot.token)["user"]


@only_kubernetes("it has the cleaner of unused tokens, which sets the label")
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


@pytest.mark.parametrize("path", [JWKS, CONFIGURATION])
def test_every_service_account_and_nobody_anonymous_may_read_the_signing_keys(
    api_server: ApiServer, bot: Identity, path: str
) -> None:
    answer = send(api_server, "GET", path)
    assert answer.code == 403
    assert answer.message == f'forbidden: User "system:anonymous" cannot get path "{path}"'
    assert send(api_server, "GET", path, headers=[bearer(bot.token)]).code == 200


def test_the_published_keys_verify_tokens_and_refuse_tampered_ones(
    api_server: ApiServer, token: Secret
) -> None:
    document = api_server.admin.get(CONFIGURATION)
    assert document["issuer"] == ISSUER
    assert document["jwks_uri"].endswith(JWKS)
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    header, _ = decode_unverified(token.reveal())
    (key,) = (k for k in api_server.admin.get(JWKS)["keys"] if k["kid"] == header["kid"])
    assert (key["alg"], key["use"], key["kty"]) == (header["alg"], "sig", "RSA")
    assert signature_is_good(api_server, token)
    signed, _, signature = token.reveal().rpartition(".")
    for tampered in (signature[::-1], "A" * len(signature)):
        assert not signature_is_good(api_server, Secret(f"{signed}.{tampered}"))
        assert not is_authenticated(api_server, Secret(f"{signed}.{tampered}"))
