"""Where the public signing keys are, and which users may read them."""

from __future__ import annotations

import pytest

from contract.calls import bearer, issued_token, needs, request_token
from contract.interface import ApiServer, send
from contract.keys import JWKS, signature_is_good
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support import identities
from support.deadline import eventually
from support.identities import Identity

CONFIGURATION = "/.well-known/openid-configuration"


@pytest.mark.parametrize("path", [JWKS, CONFIGURATION])
def test_signing_keys_are_forbidden_without_credentials(api_server: ApiServer, path: str) -> None:
    answer = send(api_server, "GET", path)
    assert answer.code == 403
    assert answer.message == f'forbidden: User "system:anonymous" cannot get path "{path}"'


@pytest.mark.parametrize("path", [JWKS, CONFIGURATION])
def test_every_service_account_may_read_the_signing_keys(
    api_server: ApiServer, bot: Identity, path: str
) -> None:
    assert send(api_server, "GET", path, headers=[bearer(bot.token)]).code == 200


@needs("impersonation")
def test_another_user_may_read_the_signing_keys_with_the_cluster_role(
    api_server: ApiServer,
) -> None:
    user = identities.unique("jane")

    def code() -> int:
        return api_server.admin.request("GET", JWKS, headers={"Impersonate-User": user}).code

    assert code() == 403
    subject = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
    role = "system:service-account-issuer-discovery"
    with identities.bound_cluster_wide(api_server.admin, role, subject):
        eventually("the right to read the keys", lambda: code() == 200)


def test_the_configuration_names_the_issuer_and_the_algorithm(api_server: ApiServer) -> None:
    document = api_server.admin.get(CONFIGURATION)
    assert document["issuer"] == api_server.issuer
    assert document["jwks_uri"].endswith(JWKS)
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]


def test_the_key_set_contains_the_key_of_a_tokens_header(
    api_server: ApiServer, bot: Identity
) -> None:
    header, _ = decode_unverified(issued_token(request_token(api_server, bot)).reveal())
    keys = {key["kid"]: key for key in api_server.admin.get(JWKS)["keys"]}
    key = keys[header["kid"]]
    assert (key["alg"], key["use"], key["kty"]) == (header["alg"], "sig", "RSA")


def test_the_key_set_verifies_tokens_and_refuses_tampered_ones(
    api_server: ApiServer, bot: Identity
) -> None:
    token = issued_token(request_token(api_server, bot))
    assert signature_is_good(api_server, token)
    signed, _, signature = token.reveal().rpartition(".")
    assert not signature_is_good(api_server, Secret(f"{signed}.{signature[::-1]}"))
