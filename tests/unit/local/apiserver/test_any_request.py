"""Every request gets a Status or an object, and never an internal error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daypass.local.apiserver.handlers import Watch
from daypass.local.apiserver.requests import ApiRequest
from unit.local.apiserver.environment import (
    JSON,
    TEAM,
    TOKEN_PATH,
    TOKEN_REVIEWS,
    Env,
)

RBAC = "/apis/rbac.authorization.k8s.io/v1"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FOO"]
MEDIA = [
    "", JSON, "application/yaml", "application/merge-patch+json", "application/json-patch+json",
    "application/apply-patch+yaml", "text/plain",
]  # fmt: skip
PATHS = [
    TOKEN_PATH,
    TOKEN_REVIEWS,
    f"{TEAM}/serviceaccounts/bot",
    f"{TEAM}/serviceaccounts",
    f"{TEAM}/secrets/bot-token",
    f"{TEAM}/secrets",
    f"{TEAM}/configmaps/m",
    f"{RBAC}/namespaces/team/roles/grant",
    f"{RBAC}/namespaces/team/rolebindings",
    f"{RBAC}/clusterrolebindings",
    "/api/v1/namespaces",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/security.istio.io/v1/namespaces/team/authorizationpolicies",
]
KEYS = st.sampled_from([
    "metadata", "name", "namespace", "labels", "spec", "data", "type", "rules", "subjects",
    "roleRef", "kind", "apiVersion", "audiences", "token", "boundObjectRef", "expirationSeconds",
    "resourceAttributes", "verbs", "containers", "annotations", "uid", "op", "path", "value",
    "stringData", "managedFields", "preconditions", "dryRun",
]) | st.text(max_size=3)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["v1", "Secret", "bot", "team", "kubernetes.io/service-account-token"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
BODIES = st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode())
QUERIES = st.sampled_from([
    "", "?dryRun=All", "?fieldValidation=Strict", "?fieldManager=m&force=true", "?timeoutSeconds=1",
    "?labelSelector=a%20in%20(b", "?fieldSelector=type=x", "?resourceVersion=1", "?limit=%C3%A9",
    "?watch=1&resourceVersion=1", "?resourceVersion=%C3%A9", "?propagationPolicy=x",
]) | st.text("?&=%ax1.,!() ", max_size=12).map(lambda text: "?" + text)  # fmt: skip
TARGETS = st.sampled_from(PATHS) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60
).map(lambda text: "/" + text) | st.lists(
    st.sampled_from(["api", "apis", "v1", "namespaces", "team", "", "..", "%2f", "secrets", "a"]),
    max_size=8,
).map(lambda parts: "/" + "/".join(parts))  # fmt: skip


@pytest.fixture(scope="module")
def shared() -> Env:
    """One cluster that gets all requests."""
    return Env().prepare_bot()


@settings(max_examples=600)
@given(
    method=st.sampled_from(METHODS),
    target=TARGETS,
    query=QUERIES,
    media=st.sampled_from(MEDIA),
    body=BODIES,
    accept=st.sampled_from(["", "*/*", JSON, "text/html"]),
)
def test_any_request_of_the_admin_is_answered(
    shared: Env, method: str, target: str, query: str, media: str, body: bytes, accept: str
) -> None:
    headers = (
        ("authorization", f"Bearer {shared.admin_token.reveal()}"),
        ("content-type", media),
        ("accept", accept),
    )
    answer = shared.api.handle(
        ApiRequest(method=method, target=target + query, headers=headers, body=body)
    )
    if isinstance(answer, Watch):
        return
    assert isinstance(json.loads(answer.body), dict | str)
    assert answer.status < 500


@settings(max_examples=300)
@given(header=st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_authorization_is_anonymous_or_a_401(shared: Env, header: str) -> None:
    reply = shared.request("GET", f"{TEAM}/secrets", authorization=header)
    assert reply.code in (401, 403)


@settings(max_examples=300)
@given(token=st.text(max_size=60) | st.text("ab.-_", max_size=20))
def test_any_token_is_authenticated_only_as_anonymous(shared: Env, token: str) -> None:
    reply = shared.request("POST", TOKEN_REVIEWS, {"spec": {"token": token}})
    if reply.code == 201 and (status := reply.json["status"]).get("authenticated"):
        assert status["user"]["username"] == "system:anonymous"
    else:
        assert reply.code in (201, 400)
