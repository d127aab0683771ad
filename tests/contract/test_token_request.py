"""TokenRequest: what a good one gives, for how long, for whom and bound to what."""

from __future__ import annotations

from datetime import datetime

import pytest

from contract.calls import (
    GATE,
    bearer,
    claims,
    is_authenticated,
    issued_token,
    needs,
    post,
    request_token,
    token_request,
)
from contract.interface import ApiServer, send
from support import identities
from support.identities import Identity

ONE_YEAR_SECONDS = 365 * 24 * 3600


def test_a_token_request_is_answered_by_201_and_a_token_request(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = request_token(api_server, bot)
    assert answer.code == 201
    assert answer.json["kind"] == "TokenRequest"
    assert answer.json["apiVersion"] == "authentication.k8s.io/v1"
    assert answer.all("content-type") == ["application/json"]


def test_the_answer_names_the_service_account_and_its_namespace(
    api_server: ApiServer, bot: Identity
) -> None:
    metadata = request_token(api_server, bot).json["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (bot.service_account, bot.namespace)


def test_the_default_audience_is_the_api_server(api_server: ApiServer, bot: Identity) -> None:
    answer = request_token(api_server, bot)
    assert answer.json["spec"]["audiences"] == [api_server.issuer]
    assert claims(issued_token(answer))["aud"] == [api_server.issuer]


def test_the_token_has_the_requested_audiences_in_order(
    api_server: ApiServer, bot: Identity
) -> None:
    token = issued_token(request_token(api_server, bot, audiences=["b", "a", "b"]))
    assert claims(token)["aud"] == ["b", "a", "b"]


def test_the_default_lifetime_is_an_hour(api_server: ApiServer, bot: Identity) -> None:
    answer = request_token(api_server, bot)
    assert answer.json["spec"]["expirationSeconds"] == 3600
    token = claims(issued_token(answer))
    assert token["exp"] - token["iat"] == 3600


def test_ten_minutes_are_the_shortest_lifetime(api_server: ApiServer, bot: Identity) -> None:
    token = claims(issued_token(request_token(api_server, bot, expirationSeconds=600)))
    assert token["exp"] - token["iat"] == 600


@pytest.mark.parametrize("seconds", [24 * 3600 + 1, 2**32], ids=["24h+1s", "2^32s"])
def test_a_lifetime_above_the_maximum_is_shortened_with_a_warning(
    api_server: ApiServer, bot: Identity, seconds: int
) -> None:
    limit = api_server.longest_lifetime_seconds
    answer = request_token(api_server, bot, expirationSeconds=seconds)
    expected = f'299 - "requested expiration of {seconds} seconds shortened to {limit} seconds"'
    assert answer.warnings == [expected]
    token = claims(issued_token(answer))
    assert token["exp"] - token["iat"] == limit


def test_the_longest_lifetime_is_granted_without_a_warning(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = request_token(api_server, bot, expirationSeconds=api_server.longest_lifetime_seconds)
    assert (answer.code, answer.warnings) == (201, [])


@pytest.mark.parametrize("seconds", [600, 2**32])
def test_the_expiration_timestamp_is_the_expiry_of_the_token(
    api_server: ApiServer, bot: Identity, seconds: int
) -> None:
    answer = request_token(api_server, bot, expirationSeconds=seconds)
    stamp = datetime.fromisoformat(answer.json["status"]["expirationTimestamp"])
    assert stamp.timestamp() == claims(issued_token(answer))["exp"]


def test_the_response_spec_has_the_granted_lifetime(api_server: ApiServer, bot: Identity) -> None:
    answer = request_token(api_server, bot, expirationSeconds=2**32)
    assert answer.json["spec"]["expirationSeconds"] == api_server.longest_lifetime_seconds


def test_a_token_can_be_bound_to_the_secret_of_the_long_lived_one(
    api_server: ApiServer, bot: Identity
) -> None:
    token = issued_token(request_token(api_server, bot, boundObjectRef=bot.bound_object_ref))
    secret = {"name": bot.secret_name, "uid": bot.secret_uid}
    assert claims(token)["kubernetes.io"]["secret"] == secret


def test_the_uid_of_the_bound_object_may_be_left_out(api_server: ApiServer, bot: Identity) -> None:
    reference = {"apiVersion": "v1", "kind": "Secret", "name": bot.secret_name}
    token = issued_token(request_token(api_server, bot, boundObjectRef=reference))
    assert claims(token)["kubernetes.io"]["secret"]["uid"] == bot.secret_uid


def test_a_token_can_be_bound_to_any_secret_of_the_namespace(
    api_server: ApiServer, bot: Identity
) -> None:
    secret = api_server.admin.create(
        f"/api/v1/namespaces/{bot.namespace}/secrets",
        {"metadata": {"name": "password"}, "stringData": {"password": "x"}},
    )
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "password"}
    token = issued_token(request_token(api_server, bot, boundObjectRef=reference))
    uid = secret["metadata"]["uid"]
    assert claims(token)["kubernetes.io"]["secret"] == {"name": "password", "uid": uid}


def test_a_token_can_be_bound_to_the_secret_of_another_service_account(
    api_server: ApiServer, bot: Identity
) -> None:
    other = identities.make_identity(api_server.admin, bot.namespace, "other")
    token = issued_token(request_token(api_server, bot, boundObjectRef=other.bound_object_ref))
    assert claims(token)["sub"] == bot.user
    assert claims(token)["kubernetes.io"]["secret"]["name"] == other.secret_name


def test_binding_reveals_whether_a_secret_exists_without_permission_to_read_it(
    api_server: ApiServer, bot: Identity
) -> None:
    """There is no authorization of the caller for the bound object: 201, 404 and 409 tell."""
    assert send(api_server, "GET", bot.secret_path, headers=[bearer(bot.token)]).code == 403
    reference = bot.bound_object_ref
    codes = [
        request_token(api_server, bot, boundObjectRef=reference).code,
        request_token(api_server, bot, boundObjectRef={**reference, "name": "absent"}).code,
        request_token(api_server, bot, boundObjectRef={**reference, "uid": "another"}).code,
    ]
    assert codes == [201, 404, 409]


@needs("pods-and-nodes")
def test_a_token_can_be_bound_to_a_pod_that_runs_as_the_service_account(
    api_server: ApiServer, bot: Identity
) -> None:
    uid = identities.make_pod(api_server.admin, bot.namespace, "runner", service_account="bot")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "runner"}
    token = issued_token(request_token(api_server, bot, boundObjectRef=reference))
    assert claims(token)["kubernetes.io"]["pod"] == {"name": "runner", "uid": uid}


@needs("pods-and-nodes")
def test_a_token_can_be_bound_to_a_node(api_server: ApiServer, bot: Identity) -> None:
    name = identities.unique("node")
    node = api_server.admin.create("/api/v1/nodes", {"metadata": {"name": name}})
    reference = {"apiVersion": "v1", "kind": "Node", "name": name}
    token = issued_token(request_token(api_server, bot, boundObjectRef=reference))
    uid = node["metadata"]["uid"]
    assert claims(token)["kubernetes.io"]["node"] == {"name": name, "uid": uid}


@needs("extended-tokens", "pods-and-nodes")
def test_only_a_pod_bound_token_of_3607_seconds_for_the_api_server_is_extended(
    api_server: ApiServer, bot: Identity
) -> None:
    """A year, for pods of old libraries, whatever the server's limit is. No external client has
    a Pod; a policy that wants the Secret bound refuses it."""
    identities.make_pod(api_server.admin, bot.namespace, "runner", service_account="bot")
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "runner"}
    secret = bot.bound_object_ref

    def lifetime(seconds: int, **spec: object) -> int:
        token = claims(
            issued_token(request_token(api_server, bot, expirationSeconds=seconds, **spec))
        )
        return int(token["exp"]) - int(token["iat"])

    assert lifetime(3607, boundObjectRef=pod) == ONE_YEAR_SECONDS
    assert lifetime(3608, boundObjectRef=pod) == 3608
    assert lifetime(3607, boundObjectRef=pod, audiences=[GATE]) == 3607
    assert lifetime(3607, boundObjectRef=secret) == 3607
    assert lifetime(3607) == 3607


def test_rbac_can_allow_the_tokens_of_one_service_account_by_its_name(
    api_server: ApiServer, bot: Identity
) -> None:
    """`resourceNames` holds for `create` here, because the name is in the URL."""
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    path = identities.token_path(bot.namespace, "other")
    assert request_token(api_server, bot).code == 201
    refused = post(api_server, path, token_request(), token=bot.token)
    assert refused.code == 403
    assert refused.message == (
        f'serviceaccounts "other" is forbidden: User "{bot.user}" cannot create resource '
        f'"serviceaccounts/token" in API group "" in the namespace "{bot.namespace}"'
    )


def test_a_dry_run_returns_a_valid_token(api_server: ApiServer, bot: Identity) -> None:
    target = f"{bot.token_path}?dryRun=All"
    token = issued_token(post(api_server, target, token_request(), token=bot.token))
    assert is_authenticated(api_server, token)


def test_a_short_lived_token_for_the_api_server_can_request_another_token(
    api_server: ApiServer, bot: Identity
) -> None:
    first = issued_token(request_token(api_server, bot))
    assert post(api_server, bot.token_path, token_request(), token=first).code == 201


def test_a_short_lived_token_for_another_audience_cannot_request_tokens(
    api_server: ApiServer, bot: Identity
) -> None:
    first = issued_token(request_token(api_server, bot, audiences=[GATE]))
    assert post(api_server, bot.token_path, token_request(), token=first).code == 401
