"""Parsing of reviews of tokens and accesses, valid and invalid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.secret import Secret
from daypass.gate.authorizer.api_server import (
    failure_of,
    read_access_review,
    read_token_review,
    token_review,
)
from daypass.rules.decision import TokenReview
from support.fake_door import long_lived_token


def answer(status: Any) -> bytes:
    return json.dumps({"kind": "TokenReview", "status": status}).encode()


def test_the_request_has_audience_and_token() -> None:
    before, after = token_review('a"b\\n')
    spec = json.loads(before + b"x.y.z" + after)["spec"]
    assert spec == {"audiences": ['a"b\\n'], "token": "x.y.z"}


@pytest.mark.parametrize(
    "status",
    [
        {"error": "token has expired"},
        {"authenticated": False, "user": {"username": "u"}},
        {"authenticated": "true"},
        {"authenticated": 1},
    ],
)
def test_only_authenticated_true_counts(status: Any) -> None:
    review = read_token_review(answer(status))
    assert isinstance(review, TokenReview)
    assert not review.authenticated


@pytest.mark.parametrize(
    ("code", "retry_after", "seconds"),
    [(429, "3", 3.0), (503, "0", 0.0), (429, "", None), (429, "-1", None), (429, "nan", None),
     (429, "inf", None), (429, "Tue, 24 Nov 2026", None), (500, "3", None), (403, "3", None)],
)  # fmt: skip
def test_retry_after_of_a_failure_is_read(
    code: int, retry_after: str, seconds: float | None
) -> None:
    result = failure_of("TokenReviews", code, retry_after, b"{}")
    assert result.retry_after_seconds == seconds


@given(body=st.binary(max_size=200))
def test_arbitrary_bytes_authenticate_no_one_and_allow_nothing(body: bytes) -> None:
    result = read_token_review(body)
    assert result is None or not result.authenticated
    assert read_access_review(body) is None


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ({"allowed": True}, True),
        ({"allowed": True, "denied": False, "reason": "RBAC"}, True),
        ({"allowed": False}, False),
        ({"allowed": True, "denied": True}, False),
        ({}, None),
        ({"allowed": 1}, None),
        ({"allowed": True, "denied": None}, None),
        ([True], None),
    ],
)
def test_only_allowed_and_not_denied_is_an_access(status: Any, allowed: bool | None) -> None:
    assert read_access_review(answer(status)) is allowed


@pytest.mark.parametrize(("code", "about"), [(400, True), (413, True), (500, False), (404, False)])
def test_errors_about_one_request_differ_from_errors_of_the_api_server(
    code: int, about: bool
) -> None:
    assert failure_of("TokenReviews", code, "", b"{}").about_request is about


def test_a_response_that_quotes_the_token_is_redacted() -> None:
    token = long_lived_token()
    escaped = "".join(f"\\u{ord(c):04x}" for c in token)
    body = f'{{"kind": "Status", "message": "bad token {escaped}, {token[60:]}"}}'
    result = failure_of("TokenReviews", 422, "", body.encode(), Secret(token))
    assert "bad token ***" in result.why
    assert not any(token[at : at + 16] in result.why for at in range(len(token) - 15))
