"""TokenRequest on the embedded API server, in addition to the contract tests."""

from __future__ import annotations

import gzip

import pytest

from daypass.local.apiserver.schema import BODY_LIMIT_BYTES
from daypass.local.apiserver.tokens import ISSUER
from unit.local.apiserver.world import GATE, TEAM, TOKEN_PATH, World, claims


def test_a_token_carries_the_claims_of_kubernetes(world: World) -> None:
    token = world.mint(
        audiences=[GATE],
        expirationSeconds=600,
        boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "bot-token"},
    )
    account = world.admin.get("ServiceAccount", "bot", "team")["metadata"]
    secret = world.admin.get("Secret", "bot-token", "team")["metadata"]
    now = int(world.clock.unix())
    said = claims(token)
    assert len(said.pop("jti")) == 36
    assert said == {
        "iss": ISSUER,
        "sub": "system:serviceaccount:team:bot",
        "aud": [GATE],
        "exp": now + 600,
        "iat": now,
        "nbf": now,
        "kubernetes.io": {
            "namespace": "team",
            "serviceaccount": {"name": "bot", "uid": account["uid"]},
            "secret": {"name": "bot-token", "uid": secret["uid"]},
        },
    }


def test_unknown_fields_warn_and_are_refused_if_validation_is_strict(world: World) -> None:
    body = {"spec": {"audiences": ["a"], "x": 1, "y": 1}}
    reply = world.request("POST", TOKEN_PATH, body)
    assert reply.document["spec"]["audiences"] == ["a"]
    assert reply.warnings == [f'299 - "unknown field \\"spec.{name}\\""' for name in "xy"]
    strict = world.request("POST", f"{TOKEN_PATH}?fieldValidation=Strict", body)
    assert strict.code == 400
    assert strict.message.endswith(
        'strict decoding error: unknown field "spec.x", unknown field "spec.y"'
    )


@pytest.mark.parametrize(
    ("body", "media", "code", "words"),
    [
        (b"", "application/json", 400, "Expecting value"),
        (gzip.compress(b"{}", mtime=0), "application/json", 400, "Expecting value"),
        (b'{"x":' + b"[" * 20_000, "application/json", 400, "exceeded max depth"),
        (b"a: b", "application/yaml", 415, "send JSON"),
        (b'{"a":"' + b"x" * BODY_LIMIT_BYTES + b'"}', "application/json", 413, "limit is 3145728"),
        (b"{}", "text/plain", 415, "accepted media types include: application/json"),
        (b"k8s\0", "application/vnd.kubernetes.protobuf", 415, "send JSON"),
        (b'{"spec":{"expirationSeconds":' + b"9" * 5000 + b"}}", "", 400, "parse error"),
    ],
    ids=[
        "empty", "gzip", "deep JSON", "YAML", "long JSON", "text", "protobuf",
        "long number",
    ],
)  # fmt: skip
def test_an_invalid_body_gets_a_status(
    world: World, body: bytes, media: str, code: int, words: str
) -> None:
    reply = world.request("POST", TOKEN_PATH, body, media=media)
    assert reply.code == code
    assert words in reply.message


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/x/..{TOKEN_PATH}", 404),
        (f"/{TOKEN_PATH}", 404),
        (TOKEN_PATH.replace("/token", "%2Ftoken"), 400),
        (f"{TOKEN_PATH}/x", 404),
        ("/api/v1//namespaces/team/serviceaccounts/bot/token", 404),
        ("/api/v1/namespaces/team/../team/serviceaccounts/bot/token", 404),
        (f"{TOKEN_PATH}%zz", 400),
        (f"{TEAM}/serviceaccounts/%2e%2e/token", 400),
        ("/api/v1/namespaces//serviceaccounts/bot/token", 404),
        (f"{TOKEN_PATH}%0a", 404),
    ],
)
def test_dots_slashes_and_escapes_are_not_normalised(world: World, path: str, code: int) -> None:
    assert world.request("POST", path, {}).code == code


@pytest.mark.parametrize("kind", ["Pod", "Node", "ConfigMap", "ServiceAccount", "secret", ""])
def test_a_token_can_be_bound_to_a_secret_only(world: World, kind: str) -> None:
    reference = {"kind": kind, "apiVersion": "v1", "name": "bot-token"}
    reply = world.request("POST", TOKEN_PATH, {"spec": {"boundObjectRef": reference}})
    assert (reply.code, reply.document["reason"]) == (400, "BadRequest")
    assert f"Kind={kind}" in reply.message
