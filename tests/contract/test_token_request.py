"""TokenRequest: what a good one gives, for how long, for whom and bound to what."""

from __future__ import annotations

from datetime import datetime

import pytest

from contract.asking import (
    GATE,
    ask,
    bearer,
    claims,
    is_authenticated,
    minted,
    needs,
    post,
    token_request,
)
from contract.interface import ApiServer, send
from support import identities
from support.identities import Identity

ONE_YEAR_SECONDS = 365 * 24 * 3600


def test_a_token_request_is_answered_by_201_and_a_token_request(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = ask(api_server, bot)
    assert answer.code == 201
    assert answer.json["kind"] == "TokenRequest"
    assert answer.json["apiVersion"] == "authentication.k8s.io/v1"
    assert answer.all("content-type") == ["application/json"]


def test_the_answer_names_the_service_account_and_its_namespace(
    api_server: ApiServer, bot: Identity
) -> None:
    metadata = ask(api_server, bot).json["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (bot.service_account, bot.namespace)


def test_without_audiences_the_token_is_for_the_api_server(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = ask(api_server, bot)
    assert answer.json["spec"]["audiences"] == [api_server.issuer]
    assert claims(minted(answer))["aud"] == [api_server.issuer]


def test_the_token_is_for_the_audiences_that_were_asked_for_in_their_order(
    api_server: ApiServer, bot: Identity
) -> None:
    token = minted(ask(api_server, bot, audiences=["b", "a", "b"]))
    assert claims(token)["aud"] == ["b", "a", "b"]


def test_the_default_lifetime_is_an_hour(api_server: ApiServer, bot: Identity) -> None:
    answer = ask(api_server, bot)
    assert answer.json["spec"]["expirationSeconds"] == 3600
    token = claims(minted(answer))
    assert token["exp"] - token["iat"] == 3600


def test_ten_minutes_are_the_shortest_lifetime(api_server: ApiServer, bot: Identity) -> None:
    token = claims(minted(ask(api_server, bot, expirationSeconds=600)))
    assert token["exp"] - token["iat"] == 600


@pytest.mark.parametrize("seconds", [24 * 3600 + 1, 2**32], ids=["24h+1s", "2^32s"])
def test_a_lifetime_beyond_the_servers_limit_is_shortened_with_a_warning(
    api_server: ApiServer, bot: Identity, seconds: int
) -> None:
    limit = api_server.longest_lifetime_seconds
    answer = ask(api_server, bot, expirationSeconds=seconds)
    said = f'299 - "requested expiration of {seconds} seconds shortened to {limit} seconds"'
    assert answer.warnings == [said]
    token = claims(minted(answer))
    assert token["exp"] - token["iat"] == limit


def test_the_longest_lifetime_is_granted_without_a_warning(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = ask(api_server, bot, expirationSeconds=api_server.longest_lifetime_seconds)
    assert (answer.code, answer.warnings) == (201, [])


@pytest.mark.parametrize("seconds", [600, 2**32])
def test_the_expiration_timestamp_is_when_the_token_ends(
    api_server: ApiServer, bot: Identity, seconds: int
) -> None:
    answer = ask(api_server, bot, expirationSeconds=seconds)
    stamp = datetime.fromisoformat(answer.json["status"]["expirationTimestamp"])
    assert stamp.timestamp() == claims(minted(answer))["exp"]


def test_the_answers_spec_holds_the_lifetime_that_was_granted(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = ask(api_server, bot, expirationSeconds=2**32)
    assert answer.json["spec"]["expirationSeconds"] == api_server.longest_lifetime_seconds


def test_a_token_can_be_bound_to_the_secret_of_the_long_lived_one(
    api_server: ApiServer, bot: Identity
) -> None:
    token = minted(ask(api_server, bot, boundObjectRef=bot.bound_object_ref))
    secret = {"name": bot.secret_name, "uid": bot.secret_uid}
    assert claims(token)["kubernetes.io"]["secret"] == secret


def test_the_uid_of_the_bound_object_may_be_left_out(api_server: ApiServer, bot: Identity) -> None:
    reference = {"apiVersion": "v1", "kind": "Secret", "name": bot.secret_name}
    token = minted(ask(api_server, bot, boundObjectRef=reference))
    assert claims(token)["kubernetes.io"]["secret"]["uid"] == bot.secret_uid


def test_a_token_can_be_bound_to_any_secret_of_the_namespace(
    api_server: ApiServer, bot: Identity
) -> None:
    secret = api_server.admin.create(
        f"/api/v1/namespaces/{bot.namespace}/secrets",
        {"metadata": {"name": "password"}, "stringData": {"password": "x"}},
    )
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "password"}
    token = minted(ask(api_server, bot, boundObjectRef=reference))
    uid = secret["metadata"]["uid"]
    assert claims(token)["kubernetes.io"]["secret"] == {"name": "password", "uid": uid}


def test_a_token_can_be_bound_to_the_secret_of_another_service_account(
    api_server: ApiServer, bot: Identity
) -> None:
    other = identities.make_identity(api_server.admin, bot.namespace, "other")
    token = minted(ask(api_server, bot, boundObjectRef=other.bound_object_ref))
    assert claims(token)["sub"] == bot.user
    assert claims(token)["kubernetes.io"]["secret"]["name"] == other.secret_name


def test_who_may_read_no_secrets_still_learns_by_binding_whether_one_exists(
    api_server: ApiServer, bot: Identity
) -> None:
    """There is no authorization of the caller for the bound object: 201, 404 and 409 tell."""
    assert send(api_server, "GET", bot.secret_path, headers=[bearer(bot.token)]).code == 403
    reference = bot.bound_object_ref
    codes = [
        ask(api_server, bot, boundObjectRef=reference).code,
        ask(api_server, bot, boundObjectRef={**reference, "name": "absent"}).code,
        ask(api_server, bot, boundObjectRef={**reference, "uid": "another"}).code,
    ]
    assert codes == [201, 404, 409]


@needs("pods-and-nodes")
def test_a_token_can_be_bound_to_a_pod_that_runs_as_the_service_account(
    api_server: ApiServer, bot: Identity
) -> None:
    uid = identities.make_pod(api_server.admin, bot.namespace, "runner", service_account="bot")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "runner"}
    token = minted(ask(api_server, bot, boundObjectRef=reference))
    assert claims(token)["kubernetes.io"]["pod"] == {"name": "runner", "uid": uid}


@needs("pods-and-nodes")
def test_a_token_can_be_bound_to_a_node(api_server: ApiServer, bot: Identity) -> None:
    name = identities.unique("node")
    node = api_server.admin.create("/api/v1/nodes", {"metadata": {"name": name}})
    reference = {"apiVersion": "v1", "kind": "Node", "name": name}
    token = minted(ask(api_server, bot, boundObjectRef=reference))
    uid = node["metadata"]["uid"]
    assert claims(token)["kubernetes.io"]["node"] == {"name": name, "uid": uid}


@needs("extended-tokens", "pods-and-nodes")
def test_only_a_pods_token_of_3607_seconds_for_the_api_server_lives_longer_than_it_says(
    api_server: ApiServer, bot: Identity
) -> None:
    """A year, for pods of old libraries, whatever the server's limit is. No external client has
    a Pod; a policy that wants the Secret bound refuses it."""
    identities.make_pod(api_server.admin, bot.namespace, "runner", service_account="bot")
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "runner"}
    secret = bot.bound_object_ref

    def lifetime(seconds: int, **spec: object) -> int:
        token = claims(minted(ask(api_server, bot, expirationSeconds=seconds, **spec)))
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
    assert ask(api_server, bot).code == 201
    refused = post(api_server, path, token_request(), token=bot.token)
    assert refused.code == 403
    assert refused.message == (
        f'serviceaccounts "other" is forbidden: User "{bot.user}" cannot create resource '
        f'"serviceaccounts/token" in API group "" in the namespace "{bot.namespace}"'
    )


def test_a_dry_run_mints_a_real_token(api_server: ApiServer, bot: Identity) -> None:
    target = f"{bot.token_path}?dryRun=All"
    token = minted(post(api_server, target, token_request(), token=bot.token))
    assert is_authenticated(api_server, token)


def test_a_short_lived_token_for_the_api_server_can_ask_for_its_successor(
    api_server: ApiServer, bot: Identity
) -> None:
    first = minted(ask(api_server, bot))
    assert post(api_server, bot.token_path, token_request(), token=first).code == 201


def test_a_short_lived_token_for_another_audience_cannot(
    api_server: ApiServer, bot: Identity
) -> None:
    first = minted(ask(api_server, bot, audiences=[GATE]))
    assert post(api_server, bot.token_path, token_request(), token=first).code == 401
