"""How the body of a TokenRequest is read."""

from __future__ import annotations

import gzip
import json

import pytest

from contract.calls import JSON, bearer, claims, issued_token, post, token_request
from contract.interface import ApiServer, send
from support.identities import Identity

UNKNOWN_FIELD = b'{"spec": {"audience": ["a"]}}'
DUPLICATE_FIELD = b'{"spec": {"audiences": ["a"], "audiences": ["b"]}}'


def test_an_empty_object_is_a_valid_body(api_server: ApiServer, bot: Identity) -> None:
    token = issued_token(post(api_server, bot.token_path, b"{}", token=bot.token))
    assert claims(token)["aud"] == [api_server.issuer]


def test_an_empty_body_is_refused(api_server: ApiServer, bot: Identity) -> None:
    assert post(api_server, bot.token_path, b"", token=bot.token).code == 400


def test_no_body_at_all_is_refused(api_server: ApiServer, bot: Identity) -> None:
    answer = send(api_server, "POST", bot.token_path, headers=[bearer(bot.token)])
    assert answer.code == 400


def test_a_body_without_a_content_type_is_read_as_json(
    api_server: ApiServer, bot: Identity
) -> None:
    body = token_request(audiences=["a"])
    answer = post(api_server, bot.token_path, body, token=bot.token, content_type=None)
    assert claims(issued_token(answer))["aud"] == ["a"]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"]
)
def test_case_and_parameters_of_the_content_type_do_not_matter(
    api_server: ApiServer, bot: Identity, content_type: str
) -> None:
    body = token_request(audiences=["a"])
    answer = post(api_server, bot.token_path, body, token=bot.token, content_type=content_type)
    assert answer.code == 201


def test_yaml_is_accepted(api_server: ApiServer, bot: Identity) -> None:
    body = b"spec:\n  audiences:\n  - a\n"
    kind = "application/yaml"
    answer = post(api_server, bot.token_path, body, token=bot.token, content_type=kind)
    assert claims(issued_token(answer))["aud"] == ["a"]


def test_gzip_is_refused(api_server: ApiServer, bot: Identity) -> None:
    body = gzip.compress(json.dumps(token_request()).encode())
    headers = [("Content-Encoding", "gzip")]
    assert post(api_server, bot.token_path, body, token=bot.token, headers=headers).code == 400


def test_a_chunked_body_is_accepted(api_server: ApiServer, bot: Identity) -> None:
    body = json.dumps(token_request(audiences=["a"])).encode()
    headers = [bearer(bot.token), ("Content-Type", JSON)]
    answer = send(api_server, "POST", bot.token_path, headers=headers, body=body, chunked=True)
    assert claims(issued_token(answer))["aud"] == ["a"]


def test_an_unknown_field_is_dropped_with_a_warning(api_server: ApiServer, bot: Identity) -> None:
    answer = post(api_server, bot.token_path, UNKNOWN_FIELD, token=bot.token)
    assert answer.warnings == ['299 - "unknown field \\"spec.audience\\""']
    assert claims(issued_token(answer))["aud"] == [api_server.issuer]


def test_of_a_duplicate_field_the_last_value_wins_with_a_warning(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = post(api_server, bot.token_path, DUPLICATE_FIELD, token=bot.token)
    assert answer.warnings == ['299 - "duplicate field \\"spec.audiences\\""']
    assert claims(issued_token(answer))["aud"] == ["b"]


@pytest.mark.parametrize("body", [UNKNOWN_FIELD, DUPLICATE_FIELD], ids=["unknown", "duplicate"])
def test_strict_field_validation_refuses_unknown_and_duplicate_fields(
    api_server: ApiServer, bot: Identity, body: bytes
) -> None:
    target = f"{bot.token_path}?fieldValidation=Strict"
    answer = post(api_server, target, body, token=bot.token)
    assert answer.code == 400
    assert "strict decoding error" in answer.message


def test_field_names_are_case_sensitive(api_server: ApiServer, bot: Identity) -> None:
    answer = post(api_server, bot.token_path, b'{"spec": {"Audiences": ["a"]}}', token=bot.token)
    assert claims(issued_token(answer))["aud"] == [api_server.issuer]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"{", "broken"), (b"[]", "no object"), (b'{"spec": []}', "no spec")],
    ids=["broken", "array", "wrong type"],
)
def test_a_body_that_is_not_a_token_request_is_refused(
    api_server: ApiServer, bot: Identity, body: bytes, reason: str
) -> None:
    assert post(api_server, bot.token_path, body, token=bot.token).code == 400, reason
