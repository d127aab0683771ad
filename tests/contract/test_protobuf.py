"""Built-in kinds in Kubernetes' protobuf, which client-go sends: fields by their numbers."""

from __future__ import annotations

from typing import Any

import pytest

from contract.calls import JSON, ApiServer, claims
from support import identities
from support.admin import Answer
from support.identities import Identity

PROTOBUF = "application/vnd.kubernetes.protobuf"
RBAC = "rbac.authorization.k8s.io/v1"
SET_BY_SERVER = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")

Fields = dict[int, Any]
"""A message: a value, or a list of values, by number."""


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def encode(message: Fields) -> bytes:
    out = b""
    for number, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += varint(number << 3) + varint(value)
                continue
            raw = value.encode() if isinstance(value, str) else value
            raw = encode(raw) if isinstance(raw, dict) else raw
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def enveloped(api_version: str, kind: str, message: Fields) -> bytes:
    return b"k8s\0" + encode({1: {1: api_version, 2: kind}, 2: encode(message), 3: "", 4: ""})


def sent(
    server: ApiServer, method: str, path: str, kind: tuple[str, str], message: Fields
) -> Answer:
    headers = {"Content-Type": PROTOBUF, "Accept": JSON}
    return server.admin.request(method, path, enveloped(*kind, message), headers=headers)


def as_made(answer: Answer) -> dict[str, Any]:
    """The object in an answer, without what the API server adds."""
    assert answer.code == 201, answer.body.decode()
    document = answer.json
    metadata = {k: v for k, v in document["metadata"].items() if k not in SET_BY_SERVER}
    return {**document, "metadata": metadata}


NAMED = {"name": "x", "labels": {"a": "b"}}
METADATA = {1: "x", 2: "", 3: "", 4: "", 5: "", 6: "", 7: 0, 8: {}, 11: [{1: "a", 2: "b"}]}
RULE = {
    "verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"],
}  # fmt: skip
RULE_FIELDS = {1: ["get", "list"], 2: [""], 3: ["secrets"], 4: ["s"]}
SUBJECT = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}
SUBJECT_FIELDS = {1: "ServiceAccount", 2: "", 3: "bot", 4: "team"}
ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
ROLE_REF_FIELDS = {1: "rbac.authorization.k8s.io", 2: "Role", 3: "r"}
OWNER = {
    "apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1", "controller": False,
    "blockOwnerDeletion": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "plural", "message", "made"),
    [
        (("v1", "ServiceAccount"), "serviceaccounts",
         {2: [{3: "s"}], 3: [{1: "pull"}, {1: "other"}], 4: 0},
         {"secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "pull"}, {"name": "other"}],
          "automountServiceAccountToken": False}),
        (("v1", "Secret"), "secrets",
         {2: [{1: "k", 2: b"\0\xff"}, {1: "empty", 2: b""}], 3: "example.com/t",
          4: [{1: "text", 2: "t"}], 5: 1},
         {"data": {"k": "AP8=", "empty": "", "text": "dA=="}, "type": "example.com/t",
          "immutable": True}),
        (("v1", "ConfigMap"), "configmaps",
         {2: [{1: "k", 2: "v" * 300}], 3: [{1: "b", 2: b"\xff"}], 4: 0},
         {"data": {"k": "v" * 300}, "binaryData": {"b": "/w=="}, "immutable": False}),
        ((RBAC, "Role"), "roles", {2: [RULE_FIELDS]}, {"rules": [RULE]}),
        ((RBAC, "RoleBinding"), "rolebindings",
         {2: [SUBJECT_FIELDS], 3: ROLE_REF_FIELDS}, {"subjects": [SUBJECT], "roleRef": ROLE_REF}),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_an_object_is_stored_as_if_it_came_in_json(
    api_server: ApiServer, bot: Identity, kind: tuple[str, str], plural: str,
    message: Fields, made: dict[str, Any],
) -> None:  # fmt: skip
    root = "/api/v1" if kind[0] == "v1" else f"/apis/{kind[0]}"
    path = f"{root}/namespaces/{bot.namespace}/{plural}"
    answer = sent(api_server, "POST", path, kind, {1: METADATA, **message})
    metadata = {**NAMED, "namespace": bot.namespace}
    head = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata}
    assert as_made(answer) == {**head, **made}


def test_owners_annotations_and_finalizers_are_read(api_server: ApiServer, bot: Identity) -> None:
    fields = {1: "ConfigMap", 3: "o", 4: "1", 5: "v1", 6: 0, 7: 1}
    metadata = {1: "x", 12: [{1: "a", 2: ""}, {1: "b", 2: "c"}], 13: [fields], 14: ["a.com/b"]}
    path = f"/api/v1/namespaces/{bot.namespace}/configmaps"
    made = as_made(sent(api_server, "POST", path, ("v1", "ConfigMap"), {1: metadata}))
    assert made["metadata"] == {
        "name": "x", "namespace": bot.namespace, "annotations": {"a": "", "b": "c"},
        "ownerReferences": [OWNER], "finalizers": ["a.com/b"],
    }  # fmt: skip


def test_kinds_without_a_namespace_are_read(api_server: ApiServer) -> None:
    name = identities.unique("protobuf")
    namespace = sent(
        api_server, "POST", "/api/v1/namespaces", ("v1", "Namespace"), {1: {1: name}, 2: {}, 3: {}}
    )
    assert as_made(namespace)["status"] == {"phase": "Active"}
    selector = {1: [{1: "never", 2: name}], 2: [{1: "k", 2: "In", 3: ["v", "w"]}]}
    role = sent(
        api_server, "POST", f"/apis/{RBAC}/clusterroles", (RBAC, "ClusterRole"),
        {1: {1: name}, 3: {1: [selector]}},
    )  # fmt: skip
    expression = {"key": "k", "operator": "In", "values": ["v", "w"]}
    assert as_made(role)["aggregationRule"] == {
        "clusterRoleSelectors": [{"matchLabels": {"never": name}, "matchExpressions": [expression]}]
    }
    binding = sent(
        api_server, "POST", f"/apis/{RBAC}/clusterrolebindings", (RBAC, "ClusterRoleBinding"),
        {1: {1: name}, 2: [SUBJECT_FIELDS], 3: {**ROLE_REF_FIELDS, 2: "ClusterRole"}},
    )  # fmt: skip
    assert as_made(binding)["roleRef"] == {**ROLE_REF, "kind": "ClusterRole"}


def test_a_token_request_is_read(api_server: ApiServer, bot: Identity) -> None:
    reference = {1: "Secret", 2: "v1", 3: bot.secret_name, 4: bot.secret_uid}
    kind = ("authentication.k8s.io/v1", "TokenRequest")
    spec = {1: ["a", "b"], 3: reference, 4: 700}
    answer = sent(api_server, "POST", bot.token_path, kind, {1: {}, 2: spec, 3: {1: "", 2: {}}})
    assert answer.code == 201
    found = claims(answer)
    assert found["aud"] == ["a", "b"]
    assert found["exp"] - found["iat"] == 700
    assert found["kubernetes.io"]["secret"]["uid"] == bot.secret_uid
    refused = sent(api_server, "POST", bot.token_path, kind, {2: {**spec, 4: 2**64 - 1}})
    assert (refused.code, refused.json["details"]["causes"][0]["field"]) == (
        422, "spec.expirationSeconds",
    )  # fmt: skip


def test_reviews_are_read(api_server: ApiServer, bot: Identity) -> None:
    def review(group: str, kind: str, message: Fields) -> dict[str, Any]:
        path = f"/apis/{group}/v1/{kind.lower()}s"
        answer = sent(api_server, "POST", path, (f"{group}/v1", kind), message)
        assert answer.code == 201, answer.body.decode()
        return answer.json

    access, authentication = "authorization.k8s.io", "authentication.k8s.io"
    groups = review(authentication, "SelfSubjectReview", {1: {}, 2: {}})["status"]["userInfo"]
    assert "system:masters" in groups["groups"]
    own = {2: {1: {1: bot.namespace, 2: "get", 5: "secrets"}}, 3: {1: 0, 2: "", 3: "", 4: 0}}
    assert review(access, "SelfSubjectAccessReview", own)["status"]["allowed"] is True
    resource = {1: bot.namespace, 2: "create", 3: "", 5: "serviceaccounts", 6: "token", 7: "bot"}
    for user, allowed in ((bot.user, True), ("nobody", False)):
        found = review(access, "SubjectAccessReview", {2: {1: resource, 3: user, 4: ["g"], 6: "u"}})
        assert found["status"]["allowed"] is allowed
        assert found["spec"]["groups"] == ["g"]
    path = {2: {2: {1: "/version", 2: "get"}, 3: "u", 4: ["system:masters"]}}
    assert review(access, "SubjectAccessReview", path)["status"]["allowed"] is True
    token = {2: {1: bot.token.reveal(), 2: []}}
    found = review(authentication, "TokenReview", token)["status"]
    assert (found["authenticated"], found["user"]["username"]) == (True, bot.user)


def test_delete_options_are_read(api_server: ApiServer, bot: Identity) -> None:
    kind = ("v1", "DeleteOptions")
    other = sent(api_server, "DELETE", bot.secret_path, kind, {1: 0, 2: {1: "other"}})
    assert (other.code, other.json["reason"]) == (409, "Conflict")
    dry = sent(api_server, "DELETE", bot.secret_path, kind, {4: "Background", 5: ["All"]})
    assert dry.code == 200
    assert api_server.admin.request("GET", bot.secret_path).code == 200
    assert sent(api_server, "DELETE", bot.secret_path, kind, {}).code == 200
    assert api_server.admin.request("GET", bot.secret_path).code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"", b"k8s", b"{}", b"k8s\0\xff", b"k8s\0\x12\x05x", b"k8s\0" + b"\xff" * 12,
        enveloped("v1", "ConfigMap", {1: 7}), enveloped("v1", "ConfigMap", {1: {1: 7}}),
        enveloped("v1", "ConfigMap", {1: {1: "x"}, 4: b"1"}),
        enveloped("v1", "Secret", {1: {1: "x"}}),
        b"k8s\0" + encode({1: {1: "v1", 2: "ConfigMap"}, 2: b"\x0a\x7fx"}),
        b"k8s\0" + encode({1: {1: "v1", 2: "ConfigMap"}, 2: b"\x0b"}),
    ],
)  # fmt: skip
def test_what_is_no_protobuf_of_the_kind_is_a_400(
    api_server: ApiServer, bot: Identity, body: bytes
) -> None:
    path = f"/api/v1/namespaces/{bot.namespace}/configmaps"
    headers = {"Content-Type": PROTOBUF, "Accept": JSON}
    answer = api_server.admin.request("POST", path, body, headers=headers)
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")
