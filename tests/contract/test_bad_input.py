"""Invalid TokenRequests: code and message of the refusal."""

from __future__ import annotations

from typing import Any

import pytest

from contract.calls import needs, post, request_token, token_request
from contract.interface import ApiServer
from support import identities
from support.identities import Identity

INVALID = 'TokenRequest.authentication.k8s.io "" is invalid: '
SECRET = {"apiVersion": "v1", "kind": "Secret"}
LIMIT_BYTES = 3145728


def refusal(
    api_server: ApiServer, bot: Identity, *, metadata: dict[str, str] | None = None, **spec: Any
) -> tuple[int, str]:
    """Code and message of a bad request."""
    document = {**token_request(**spec), "metadata": metadata or {}}
    answer = post(api_server, bot.token_path, document, token=bot.token)
    return answer.code, answer.message


def test_a_lifetime_under_ten_minutes_is_refused(api_server: ApiServer, bot: Identity) -> None:
    assert refusal(api_server, bot, expirationSeconds=300) == (
        422,
        f"{INVALID}spec.expirationSeconds: Invalid value: 300: "
        "may not specify a duration less than 10 minutes",
    )


def test_a_lifetime_over_two_to_the_32_seconds_is_refused(
    api_server: ApiServer, bot: Identity
) -> None:
    assert refusal(api_server, bot, expirationSeconds=2**32 + 1) == (
        422,
        f"{INVALID}spec.expirationSeconds: Invalid value: 4294967297: "
        "may not specify a duration larger than 2^32 seconds",
    )


def test_a_name_that_differs_from_the_paths_is_refused(
    api_server: ApiServer, bot: Identity
) -> None:
    assert refusal(api_server, bot, metadata={"name": "x"}) == (
        422,
        'TokenRequest.authentication.k8s.io "bot" is invalid: metadata.name: Invalid value: "x": '
        "must match the service account name if specified",
    )


def test_a_namespace_that_differs_from_the_paths_is_refused(
    api_server: ApiServer, bot: Identity
) -> None:
    assert refusal(api_server, bot, metadata={"namespace": "x"}) == (
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )


def test_a_uid_of_another_service_account_is_refused(api_server: ApiServer, bot: Identity) -> None:
    assert refusal(api_server, bot, metadata={"uid": "x"}) == (
        409,
        'Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "bot": the UID in the '
        "token request (x) does not match the UID of the service account "
        f"({bot.service_account_uid})",
    )


@pytest.mark.parametrize("key", ["name", "namespace", "uid"])
def test_matching_metadata_is_accepted(api_server: ApiServer, bot: Identity, key: str) -> None:
    right = {"name": "bot", "namespace": bot.namespace, "uid": bot.service_account_uid}
    document = {**token_request(), "metadata": {key: right[key]}}
    assert post(api_server, bot.token_path, document, token=bot.token).code == 201


def test_a_missing_service_account_is_refused(api_server: ApiServer, bot: Identity) -> None:
    identities.allow_token_requests(api_server.admin, bot.namespace, "bot", ["absent"])
    path = identities.token_path(bot.namespace, "absent")
    answer = post(api_server, path, token_request(), token=bot.token)
    assert (answer.code, answer.message) == (404, 'serviceaccounts "absent" not found')


def test_a_missing_bound_secret_is_refused(api_server: ApiServer, bot: Identity) -> None:
    reference = {**SECRET, "name": "absent"}
    expected = (404, 'secrets "absent" not found')
    assert refusal(api_server, bot, boundObjectRef=reference) == expected


def test_a_bound_secret_of_another_namespace_is_refused(
    api_server: ApiServer, bot: Identity
) -> None:
    other = identities.make_identity(api_server.admin, identities.unique("other"))
    reference = other.bound_object_ref
    expected = (404, f'secrets "{other.secret_name}" not found')
    assert refusal(api_server, bot, boundObjectRef=reference) == expected


def test_a_bound_object_with_another_uid_is_refused(api_server: ApiServer, bot: Identity) -> None:
    reference = {**bot.bound_object_ref, "uid": "another"}
    assert refusal(api_server, bot, boundObjectRef=reference) == (
        409,
        f'Operation cannot be fulfilled on Secret "{bot.secret_name}": the UID in the bound '
        f"object reference (another) does not match the UID in record. The object might have "
        "been deleted and then recreated",
    )


def test_a_bound_object_without_a_name_is_refused(api_server: ApiServer, bot: Identity) -> None:
    assert refusal(api_server, bot, boundObjectRef=SECRET) == (400, "Name parameter required.")


@pytest.mark.parametrize("kind", ["ConfigMap", "ServiceAccount", "secret"])
def test_a_bound_object_of_another_kind_is_refused(
    api_server: ApiServer, bot: Identity, kind: str
) -> None:
    reference = {"apiVersion": "v1", "kind": kind, "name": "x"}
    expected = (400, f"cannot bind token to object of type /v1, Kind={kind}")
    assert refusal(api_server, bot, boundObjectRef=reference) == expected


@needs("pods-and-nodes")
def test_a_pod_of_another_service_account_is_refused(api_server: ApiServer, bot: Identity) -> None:
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    identities.make_pod(api_server.admin, bot.namespace, "runner", service_account="other")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "runner"}
    assert refusal(api_server, bot, boundObjectRef=reference) == (
        400,
        'cannot bind token for serviceaccount "bot" to pod running with different '
        "serviceaccount name.",
    )


def test_a_body_of_another_kind_is_refused(api_server: ApiServer, bot: Identity) -> None:
    answer = post(api_server, bot.token_path, {"kind": "Foo", "apiVersion": "v1"}, token=bot.token)
    assert answer.code == 400
    assert answer.message.startswith('Foo in version "v1" cannot be handled as a TokenRequest: ')


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "json"])
def test_an_unknown_content_type_is_refused(
    api_server: ApiServer, bot: Identity, kind: str
) -> None:
    answer = post(api_server, bot.token_path, {}, token=bot.token, content_type=kind)
    assert answer.code == 415
    assert answer.message.startswith(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def test_a_body_that_is_too_large_is_refused(api_server: ApiServer, bot: Identity) -> None:
    body = b"{}".ljust(LIMIT_BYTES + 1)
    answer = post(api_server, bot.token_path, body, token=bot.token)
    assert answer.code == 413
    assert f"limit is {LIMIT_BYTES}" in answer.message


def test_a_body_of_the_maximum_size_is_accepted(api_server: ApiServer, bot: Identity) -> None:
    assert post(api_server, bot.token_path, b"{}".ljust(LIMIT_BYTES), token=bot.token).code == 201


@pytest.mark.parametrize("audience", ["", " ", "a b", "ü", "x" * 4096])
def test_any_audience_is_accepted(api_server: ApiServer, bot: Identity, audience: str) -> None:
    assert request_token(api_server, bot, audiences=[audience]).code == 201
