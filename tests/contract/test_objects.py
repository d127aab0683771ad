"""What Kubernetes' own `edit` lets a bot do with objects, and lists of nothing but metadata."""

from __future__ import annotations

import json

import pytest

from contract.calls import ApiServer, bearer, claims, only_kubernetes, post, send, token_request
from support import identities
from support.admin import MERGE_PATCH
from support.controlplane import LONGEST_LIFETIME_SECONDS
from support.identities import Identity

METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


@pytest.fixture
def editor(api_server: ApiServer, bot: Identity) -> Identity:
    """A bot with `edit` in its namespace, next to a ServiceAccount `other`."""
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    until = {"verb": "create", "resource": "secrets"}
    identities.bind(api_server.admin, bot.namespace, "bot", role="edit", until=until)
    return bot


def test_edit_gets_every_token_of_another_service_account(
    api_server: ApiServer, editor: Identity
) -> None:
    namespace = editor.namespace
    body = token_request(expirationSeconds=LONGEST_LIFETIME_SECONDS)
    path = identities.token_path(namespace, "other")
    token = claims(post(api_server, path, body, token=editor.token))
    assert token["sub"] == f"system:serviceaccount:{namespace}:other"
    assert token["exp"] - token["iat"] == LONGEST_LIFETIME_SECONDS
    assert set(token["kubernetes.io"]) == {"namespace", "serviceaccount"}
    other = identities.make_identity(api_server.admin, namespace, "other")
    answer = send(api_server, "GET", other.secret_path, headers=[bearer(editor.token)])
    assert (answer.code, identities.secret_token(answer.json)) == (200, other.token)
    annotations = {"kubernetes.io/service-account.name": "other"}
    secret = {
        "metadata": {"name": "taken", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }
    path = f"/api/v1/namespaces/{namespace}/secrets"
    assert post(api_server, path, secret, token=editor.token).code == 201


@only_kubernetes("it has impersonation")
def test_edit_impersonates_another_service_account(api_server: ApiServer, editor: Identity) -> None:
    user = f"system:serviceaccount:{editor.namespace}:other"
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    headers = [("Impersonate-User", user)]
    answer = post(api_server, path, {}, token=editor.token, headers=headers)
    assert answer.code == 201
    assert answer.json["status"]["userInfo"]["username"] == user


def test_edit_changes_config_maps_and_cannot_annotate_its_namespace(
    api_server: ApiServer, editor: Identity
) -> None:
    namespace = f"/api/v1/namespaces/{editor.namespace}"
    api_server.admin.create(f"{namespace}/configmaps", {"metadata": {"name": "settings"}})
    for path, change, code in (
        (f"{namespace}/configmaps/settings", {"data": {"a": "b"}}, 200),
        (namespace, {"metadata": {"annotations": {"a": "b"}}}, 403),
    ):
        headers = [bearer(editor.token), ("Content-Type", MERGE_PATCH)]
        body = json.dumps(change).encode()
        assert send(api_server, "PATCH", path, headers=headers, body=body).code == code


def test_without_edit_all_of_this_is_forbidden(api_server: ApiServer, bot: Identity) -> None:
    identities.ensure_service_account(api_server.admin, bot.namespace, "other")
    path = identities.token_path(bot.namespace, "other")
    assert post(api_server, path, {}, token=bot.token).code == 403
    assert send(api_server, "GET", bot.secret_path, headers=[bearer(bot.token)]).code == 403


@pytest.mark.parametrize("accept", [METADATA, f"{METADATA}, application/json"])
def test_a_metadata_list_contains_no_token(
    api_server: ApiServer, bot: Identity, accept: str
) -> None:
    collection = f"/api/v1/namespaces/{bot.namespace}/secrets"
    query = "?fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"
    answer = api_server.admin.request("GET", collection + query, headers={"Accept": accept})
    whole = api_server.admin.get(collection + query)
    assert whole["kind"] == "SecretList"
    assert answer.json["kind"] == "PartialObjectMetadataList"
    assert answer.json["apiVersion"] == "meta.k8s.io/v1"
    expected = [{**PARTIAL, "metadata": secret["metadata"]} for secret in whole["items"]]
    assert answer.json["items"] == expected
    assert bot.secret_name in [each["metadata"]["name"] for each in answer.json["items"]]
    assert bot.token.reveal().encode() not in answer.body


def test_a_list_of_other_types_leaves_out_token_secrets(
    api_server: ApiServer, bot: Identity
) -> None:
    collection = f"/api/v1/namespaces/{bot.namespace}/secrets"
    metadata = {"name": f"bot-daypass-anchor-{'0' * 20}"}
    api_server.admin.create(collection, {"metadata": metadata, "type": "daypass.dev/anchor"})
    query = "?fieldSelector=type!%3Dkubernetes.io%2Fservice-account-token"
    names = [each["metadata"]["name"] for each in api_server.admin.get(collection + query)["items"]]
    assert metadata["name"] in names
    assert bot.secret_name not in names


def test_a_metadata_watch_contains_no_token(api_server: ApiServer, bot: Identity) -> None:
    collection = f"/api/v1/namespaces/{bot.namespace}/secrets"
    answer = api_server.admin.request(
        "GET", f"{collection}?watch=1&timeoutSeconds=1",
        headers={"Accept": METADATA.replace("MetadataList", "Metadata")},
    )  # fmt: skip
    assert answer.code == 200
    events = [json.loads(line) for line in answer.body.splitlines()]
    (ours,) = [e for e in events if e["object"]["metadata"]["name"] == bot.secret_name]
    assert (ours["type"], ours["object"]["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert sorted(ours["object"]) == ["apiVersion", "kind", "metadata"]
    assert bot.token.reveal().encode() not in answer.body
