"""The order of checks of a TokenRequest: of two errors the earlier one is returned."""

from __future__ import annotations

from contract.calls import post, request_token, token_request
from contract.interface import ApiServer
from daypass._core.secret import Secret
from support import identities
from support.identities import Identity

TOO_SHORT = token_request(expirationSeconds=1)
NOT_JSON = b"{"


def test_authentication_comes_before_authorization(api_server: ApiServer, namespace: str) -> None:
    path = identities.token_path(namespace, "anyone")
    assert post(api_server, path, {}, token=Secret("nonsense")).code == 401


def test_authorization_comes_before_the_body_is_read(api_server: ApiServer, bot: Identity) -> None:
    path = identities.token_path(bot.namespace, "other")
    assert post(api_server, path, NOT_JSON, token=bot.token).code == 403


def test_the_body_is_read_before_the_service_account_is_looked_up(
    api_server: ApiServer, bot: Identity
) -> None:
    path = _path_of_an_absent_one(api_server, bot)
    assert post(api_server, path, NOT_JSON, token=bot.token).code == 400


def test_names_are_compared_before_the_service_account_is_looked_up(
    api_server: ApiServer, bot: Identity
) -> None:
    path = _path_of_an_absent_one(api_server, bot)
    other_name = {**token_request(), "metadata": {"name": "other"}}
    assert post(api_server, path, other_name, token=bot.token).code == 422


def test_the_service_account_is_looked_up_before_the_spec_is_validated(
    api_server: ApiServer, bot: Identity
) -> None:
    path = _path_of_an_absent_one(api_server, bot)
    answer = post(api_server, path, TOO_SHORT, token=bot.token)
    assert (answer.code, answer.message) == (404, 'serviceaccounts "absent" not found')


def test_the_spec_is_validated_before_the_bound_object_is_looked_up(
    api_server: ApiServer, bot: Identity
) -> None:
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "absent"}
    assert request_token(api_server, bot, boundObjectRef=reference, expirationSeconds=1).code == 422
    assert request_token(api_server, bot, boundObjectRef=reference).code == 404


def test_the_bound_object_is_looked_up_before_the_lifetime_is_shortened(
    api_server: ApiServer, bot: Identity
) -> None:
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "absent"}
    answer = request_token(api_server, bot, boundObjectRef=reference, expirationSeconds=2**32)
    assert (answer.code, answer.warnings) == (404, [])


def _path_of_an_absent_one(api_server: ApiServer, bot: Identity) -> str:
    identities.allow_token_requests(
        api_server.admin, bot.namespace, bot.service_account, ["absent"]
    )
    return identities.token_path(bot.namespace, "absent")
