"""Where the keys are that tokens are signed by, and who may read them."""

from __future__ import annotations

import pytest

from contract.asking import ask, bearer, minted, needs
from contract.interface import ApiServer, send
from contract.keys import JWKS, signature_is_good
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support import identities
from support.deadline import eventually
from support.identities import Identity

CONFIGURATION = "/.well-known/openid-configuration"


@pytest.mark.parametrize("path", [JWKS, CONFIGURATION])
def test_without_credentials_they_are_forbidden(api_server: ApiServer, path: str) -> None:
    answer = send(api_server, "GET", path)
    assert answer.code == 403
    assert answer.message == f'forbidden: User "system:anonymous" cannot get path "{path}"'


@pytest.mark.parametrize("path", [JWKS, CONFIGURATION])
def test_every_service_account_may_read_them(
    api_server: ApiServer, bot: Identity, path: str
) -> None:
    assert send(api_server, "GET", path, headers=[bearer(bot.token)]).code == 200


@needs("impersonation")
def test_another_user_may_with_the_cluster_role_for_it(api_server: ApiServer) -> None:
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


def test_the_key_that_a_tokens_header_names_is_among_them(
    api_server: ApiServer, bot: Identity
) -> None:
    header, _ = decode_unverified(minted(ask(api_server, bot)).reveal())
    keys = {key["kid"]: key for key in api_server.admin.get(JWKS)["keys"]}
    key = keys[header["kid"]]
    assert (key["alg"], key["use"], key["kty"]) == (header["alg"], "sig", "RSA")


def test_a_tokens_signature_is_good_by_them_and_a_bent_one_is_not(
    api_server: ApiServer, bot: Identity
) -> None:
    token = minted(ask(api_server, bot))
    assert signature_is_good(api_server, token)
    signed, _, signature = token.reveal().rpartition(".")
    assert not signature_is_good(api_server, Secret(f"{signed}.{signature[::-1]}"))
