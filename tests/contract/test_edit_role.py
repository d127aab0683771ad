"""What Kubernetes' own `edit` lets a bot do beyond its own tokens."""

from __future__ import annotations

import json

import pytest

from contract.calls import bearer, claims, issued_token, needs, post, token_request
from contract.interface import ApiServer, send
from support import identities
from support.identities import Identity


@pytest.fixture
def editor(api_server: ApiServer, bot: Identity) -> Identity:
    """A bot with `edit` in its namespace, next to a ServiceAccount `other`."""
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    identities.bind(api_server.admin, bot.namespace, "bot", kind="ClusterRole", role="edit")
    attributes = {"namespace": bot.namespace, "verb": "create", "resource": "secrets"}
    identities.wait_until_allowed(api_server.admin, bot.user, attributes)
    return bot


def test_edit_issues_an_unbound_token_of_the_longest_lifetime_for_another_service_account(
    api_server: ApiServer, editor: Identity
) -> None:
    path = identities.token_path(editor.namespace, "other")
    longest = api_server.longest_lifetime_seconds
    body = token_request(expirationSeconds=longest)
    token = claims(issued_token(post(api_server, path, body, token=editor.token)))
    assert token["sub"] == f"system:serviceaccount:{editor.namespace}:other"
    assert token["exp"] - token["iat"] == longest
    assert set(token["kubernetes.io"]) == {"namespace", "serviceaccount"}


def test_edit_reads_the_long_lived_token_of_another_service_account(
    api_server: ApiServer, editor: Identity
) -> None:
    other = identities.make_identity(api_server.admin, editor.namespace, "other")
    answer = send(api_server, "GET", other.secret_path, headers=[bearer(editor.token)])
    assert answer.code == 200
    assert identities.secret_token(answer.json) == other.token


def test_edit_creates_a_long_lived_token_for_another_service_account(
    api_server: ApiServer, editor: Identity
) -> None:
    document = {
        "metadata": {
            "name": "taken",
            "annotations": {"kubernetes.io/service-account.name": "other"},
        },
        "type": "kubernetes.io/service-account-token",
    }
    path = f"/api/v1/namespaces/{editor.namespace}/secrets"
    assert post(api_server, path, document, token=editor.token).code == 201


@needs("impersonation")
def test_edit_impersonates_another_service_account(api_server: ApiServer, editor: Identity) -> None:
    user = f"system:serviceaccount:{editor.namespace}:other"
    answer = post(
        api_server,
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {},
        token=editor.token,
        headers=[("Impersonate-User", user)],
    )
    assert answer.code == 201
    assert answer.json["status"]["userInfo"]["username"] == user


def test_edit_changes_config_maps(api_server: ApiServer, editor: Identity) -> None:
    path = f"/api/v1/namespaces/{editor.namespace}/configmaps"
    api_server.admin.create(path, {"metadata": {"name": "settings"}})
    document = {"metadata": {"name": "settings"}, "data": {"a": "b"}}
    headers = [bearer(editor.token), ("Content-Type", "application/json")]
    answer = send(
        api_server, "PUT", f"{path}/settings", headers=headers, body=json.dumps(document).encode()
    )
    assert answer.code == 200


def test_edit_cannot_annotate_its_namespace(api_server: ApiServer, editor: Identity) -> None:
    path = f"/api/v1/namespaces/{editor.namespace}"
    headers = [bearer(editor.token), ("Content-Type", "application/merge-patch+json")]
    body = b'{"metadata": {"annotations": {"a": "b"}}}'
    assert send(api_server, "PATCH", path, headers=headers, body=body).code == 403


def test_without_edit_all_of_this_is_forbidden(api_server: ApiServer, bot: Identity) -> None:
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    path = identities.token_path(bot.namespace, "other")
    assert post(api_server, path, {}, token=bot.token).code == 403
    assert send(api_server, "GET", bot.secret_path, headers=[bearer(bot.token)]).code == 403
