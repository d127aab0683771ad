"""Lists of nothing but metadata: they show Secrets without their data."""

from __future__ import annotations

import json

import pytest

from contract.interface import ApiServer
from support.identities import Identity

METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize("accept", [METADATA, f"{METADATA}, application/json"])
def test_a_metadata_list_contains_no_token(
    api_server: ApiServer, bot: Identity, accept: str
) -> None:
    collection = f"/api/v1/namespaces/{bot.namespace}/secrets"
    query = "?fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"
    answer = api_server.admin.request("GET", collection + query, headers={"Accept": accept})
    whole = api_server.admin.get(collection + query)
    assert answer.code == 200
    assert (answer.json["kind"], answer.json["apiVersion"]) == (
        "PartialObjectMetadataList",
        "meta.k8s.io/v1",
    )
    assert answer.json["items"] == [
        {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": secret["metadata"],
        }
        for secret in whole["items"]
    ]
    assert bot.secret_name in [each["metadata"]["name"] for each in answer.json["items"]]
    assert bot.token.reveal().encode() not in answer.body


def test_plain_json_named_first_returns_whole_objects(api_server: ApiServer, bot: Identity) -> None:
    collection = f"/api/v1/namespaces/{bot.namespace}/secrets"
    accept = {"Accept": f"application/json, {METADATA}"}
    answer = api_server.admin.request("GET", collection, headers=accept)
    assert answer.json["kind"] == "SecretList"


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
