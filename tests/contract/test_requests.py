"""How a TokenRequest is read: credentials, path, body, the order of checks, and refusals."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from contract.calls import (
    JSON,
    ApiServer,
    bearer,
    claims,
    only_kubernetes,
    post,
    request_token,
    send,
    token_request,
)
from daypass._core.secret import Secret
from support import identities
from support.admin import Answer
from support.identities import Identity
from support.tokens import ISSUER

LIMIT_BYTES = 3145728
INVALID = 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value:'
ABSENT = {"apiVersion": "v1", "kind": "Secret", "name": "absent"}
OTHER_KIND = "cannot bind token to object of type /v1, Kind="


def with_authorization(api_server: ApiServer, bot: Identity, *values: str) -> Answer:
    headers = [("Authorization", value.format(token=bot.token.reveal())) for value in values]
    headers.append(("Content-Type", JSON))
    return send(api_server, "POST", bot.token_path, headers=headers, body=b"{}")


def anonymous_message(bot: Identity, verb: str = "create") -> str:
    return (
        f'serviceaccounts "bot" is forbidden: User "system:anonymous" cannot {verb} resource '
        f'"serviceaccounts/token" in API group "" in the namespace "{bot.namespace}"'
    )


def test_without_credentials_the_answer_is_a_403_that_names_system_anonymous(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = post(api_server, bot.token_path, {}, token=None)
    assert (answer.code, answer.message) == (403, anonymous_message(bot))
    answer = send(api_server, "GET", bot.token_path)
    assert (answer.code, answer.message) == (403, anonymous_message(bot, "get"))
    assert api_server.admin.request("GET", bot.token_path).code == 405


def test_a_bad_or_expired_token_is_a_401_without_details(
    api_server: ApiServer, bot: Identity
) -> None:
    expired = api_server.sign({"iss": ISSUER, "sub": bot.user, "aud": [ISSUER], "exp": 1})
    for token in (Secret("nonsense"), Secret("a.b.c"), expired):
        answer = post(api_server, bot.token_path, {}, token=token)
        assert (answer.code, answer.message) == (401, "Unauthorized")
        assert answer.json["reason"] == "Unauthorized"
        assert "details" not in answer.json


def test_the_scheme_is_case_insensitive_and_text_after_the_token_is_ignored(
    api_server: ApiServer, bot: Identity
) -> None:
    for scheme in ("Bearer", "bearer", "bEaReR"):
        for junk in ("", " junk", " a b", " ,", "  "):
            value = f"{scheme} {{token}}{junk}"
            assert with_authorization(api_server, bot, value).code == 201, value


def test_anything_but_a_bearer_token_after_one_space_counts_as_no_credentials(
    api_server: ApiServer, bot: Identity
) -> None:
    gaps = [f"Bearer{gap}{{token}}" for gap in ("  ", "\t", "\t ", "")]
    for value in (*gaps, "", "Bearer", "Bearer ", "Basic YTpi", "{token}"):
        answer = with_authorization(api_server, bot, value)
        assert (answer.code, answer.message) == (403, anonymous_message(bot)), value


def test_the_first_of_two_authorization_headers_is_used(
    api_server: ApiServer, bot: Identity
) -> None:
    good = "Bearer {token}"
    assert with_authorization(api_server, bot, good, "Basic YTpi").code == 201
    assert with_authorization(api_server, bot, "Basic YTpi", good).code == 403


BASE = "/api/v1/namespaces/{ns}/serviceaccounts"
PATHS = {
    201: [
        f"{BASE}/bot{end}"
        for end in (
            "%2ftoken", "%2Ftoken", "/%74oken", "/toke%6E", "/token/", "/token//", "%2f%74oken",
            "/token?",
        )
    ],
    403: [
        f"{BASE}/x/../bot/token",
        f"{BASE}/bot/x/../token",
        f"{BASE}//bot/token",
        "/api//v1/namespaces/{ns}/serviceaccounts/bot/token",
        f"{BASE}/%2e%2e/serviceaccounts/bot/token",
        f"{BASE}/bot/TOKEN",
        f"{BASE}/bot/token%00",
        f"{BASE}/bot%252ftoken",
    ],
    404: [f"/{BASE}/bot/token", f"{BASE}/bot/token/x"],  # for RBAC they are the token's path
}  # fmt: skip


@only_kubernetes("the embedded one decodes each segment separately")
def test_a_path_is_decoded_once_and_never_normalised(api_server: ApiServer, bot: Identity) -> None:
    """Whatever a proxy in front makes of them: the first eight are the token subresource."""
    for code, paths in PATHS.items():
        for path in paths:
            target = path.format(ns=bot.namespace)
            assert post(api_server, target, token_request(), token=bot.token).code == code, path
            if code == 404:
                assert post(api_server, target, token_request(), token=None).code == 403, path


@pytest.mark.parametrize(
    "kind",
    [None, "application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"],
)
def test_json_is_read_without_a_content_type_and_with_any_parameters(
    api_server: ApiServer, bot: Identity, kind: str | None
) -> None:
    body = token_request(audiences=["a"])
    answer = post(api_server, bot.token_path, body, token=bot.token, content_type=kind)
    assert claims(answer)["aud"] == ["a"]


@only_kubernetes("the embedded one reads JSON only")
def test_yaml_is_accepted(api_server: ApiServer, bot: Identity) -> None:
    body = b"spec:\n  audiences:\n  - a\n"
    kind = "application/yaml"
    answer = post(api_server, bot.token_path, body, token=bot.token, content_type=kind)
    assert claims(answer)["aud"] == ["a"]


@pytest.mark.parametrize(
    ("body", "audiences"),
    [
        (b"{}", [ISSUER]),
        (b'{"spec": {"audience": ["a"]}}', [ISSUER]),
        (b'{"spec": {"Audiences": ["a"]}}', [ISSUER]),
        (b"{}".ljust(LIMIT_BYTES), [ISSUER]),
        *((json.dumps(token_request(audiences=[each])).encode(), [each])
          for each in ("", " ", "a b", "ü", "x" * 4096)),
    ],
    ids=["empty", "unknown field", "case", "longest", "no text", "blank", "two", "ü", "long"],
)  # fmt: skip
def test_a_body_needs_no_audience_and_any_audience_is_accepted(
    api_server: ApiServer, bot: Identity, body: bytes, audiences: list[str]
) -> None:
    answer = post(api_server, bot.token_path, body, token=bot.token)
    assert claims(answer)["aud"] == audiences


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"spec": []}', gzip.compress(b"{}", mtime=0)])
def test_a_body_that_is_not_a_token_request_is_a_400(
    api_server: ApiServer, bot: Identity, body: bytes
) -> None:
    assert post(api_server, bot.token_path, body, token=bot.token).code == 400
    if not body:
        assert send(api_server, "POST", bot.token_path, headers=[bearer(bot.token)]).code == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "json"])
def test_an_unknown_content_type_is_a_415(api_server: ApiServer, bot: Identity, kind: str) -> None:
    answer = post(api_server, bot.token_path, {}, token=bot.token, content_type=kind)
    assert answer.code == 415
    known = "the body of the request was in an unknown format - accepted media types include: "
    assert answer.message.startswith(f"{known}{JSON}")


def test_a_body_that_is_too_large_is_a_413(api_server: ApiServer, bot: Identity) -> None:
    body = b"{}".ljust(LIMIT_BYTES + 1)
    answer = post(api_server, bot.token_path, body, token=bot.token)
    assert (answer.code, f"limit is {LIMIT_BYTES}" in answer.message) == (413, True)


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "under ten minutes": (
        {"expirationSeconds": 300}, 422,
        f"{INVALID} 300: may not specify a duration less than 10 minutes",
    ),
    "over 2^32 seconds": (
        {"expirationSeconds": 2**32 + 1}, 422,
        f"{INVALID} 4294967297: may not specify a duration larger than 2^32 seconds",
    ),
    "a missing Secret": ({"boundObjectRef": ABSENT}, 404, 'secrets "absent" not found'),
    "no name": ({"boundObjectRef": {**ABSENT, "name": ""}}, 400, "Name parameter required."),
    **{
        kind: ({"boundObjectRef": {**ABSENT, "kind": kind}}, 400, OTHER_KIND + kind)
        for kind in ("ConfigMap", "ServiceAccount", "secret")
    },
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_an_invalid_spec_is_refused(api_server: ApiServer, bot: Identity, what: str) -> None:
    spec, code, message = REFUSED[what]
    answer = request_token(api_server, bot, **spec)
    assert (answer.code, answer.message) == (code, message)


def test_a_bound_secret_of_another_namespace_or_uid_is_refused(
    api_server: ApiServer, bot: Identity
) -> None:
    other = identities.make_identity(api_server.admin, identities.unique("other"))
    answer = request_token(api_server, bot, boundObjectRef=other.bound_object_ref)
    assert (answer.code, answer.message) == (404, f'secrets "{other.secret_name}" not found')
    reference = {**bot.bound_object_ref, "uid": "another"}
    answer = request_token(api_server, bot, boundObjectRef=reference)
    assert (answer.code, answer.message) == (
        409,
        f'Operation cannot be fulfilled on Secret "{bot.secret_name}": the UID in the bound '
        f"object reference (another) does not match the UID in record. The object might have "
        "been deleted and then recreated",
    )


def test_a_body_of_another_kind_is_refused(api_server: ApiServer, bot: Identity) -> None:
    answer = post(api_server, bot.token_path, {"kind": "Foo", "apiVersion": "v1"}, token=bot.token)
    assert answer.code == 400
    assert answer.message.startswith('Foo in version "v1" cannot be handled as a TokenRequest: ')


def test_of_two_errors_the_earlier_one_is_returned(api_server: ApiServer, bot: Identity) -> None:
    admin, namespace = api_server.admin, bot.namespace
    identities.allow_token_requests(admin, namespace, bot.service_account, ["absent"])
    absent, other = (identities.token_path(namespace, name) for name in ("absent", "other"))
    too_short = token_request(expirationSeconds=1)
    # 1. Authentication, 2. authorization, 3. the body, 4. the ServiceAccount.
    assert post(api_server, other, {}, token=Secret("nonsense")).code == 401
    assert post(api_server, other, b"{", token=bot.token).code == 403
    assert post(api_server, absent, b"{", token=bot.token).code == 400
    answer = post(api_server, absent, too_short, token=bot.token)
    assert (answer.code, answer.message) == (404, 'serviceaccounts "absent" not found')
    # 5. The spec, 6. the bound object, 7. the lifetime that is granted.
    assert request_token(api_server, bot, boundObjectRef=ABSENT, expirationSeconds=1).code == 422
    answer = request_token(api_server, bot, boundObjectRef=ABSENT, expirationSeconds=2**32)
    assert (answer.code, answer.warnings) == (404, [])
