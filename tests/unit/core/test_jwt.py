"""Decoding a JSON Web Token without verifying it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.jwt import MalformedTokenError, decode_unverified
from support.messages import raises


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_header_and_claims_are_read_and_the_signature_may_be_empty() -> None:
    token = f"{part({'alg': 'RS256'})}.{part({'sub': 'x', 'n': [1, None]})}.c2ln"
    assert decode_unverified(token) == ({"alg": "RS256"}, {"sub": "x", "n": [1, None]})

    assert decode_unverified(f"{part({})}.{part({})}.") == ({}, {})


@pytest.mark.parametrize(
    ("token", "part"),
    [
        ("", "three parts, .* 1"),
        ("a.b", "three parts, .* 2"),
        (f"{part({})}.{part({})}.c2ln.", "three parts, .* 4"),
        ("..", "header"),
        (f"{part([])}.{part({})}.c2ln", "header"),
        (f"{part({})}.{part('x')}.c2ln", "claims"),
        (f"{part({})}.{part({})}=.c2ln", "claims"),
        (f"{part({})}.{part({})} .c2ln", "claims"),
        (f"{part({})}.{part({})}.c2\r\nX: y", "signature"),
        (f"{part({})}.{part({})}.\u0661", "signature"),
        ("x" * 17_000, "16384 characters"),
    ],
    ids=["empty", "two parts", "four parts", "no header", "header a list", "claims a string",
         "claims padded", "claims with a space", "line break", "signature not ASCII", "long"],
)  # fmt: skip
def test_a_malformed_token_is_refused_without_showing_it(token: str, part: str) -> None:
    with raises(MalformedTokenError, match=part) as raised:
        decode_unverified(token)
    assert raised.value.__cause__ is None
    assert len(str(raised.value)) < 100


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_decoded_or_refused(token: str) -> None:
    try:
        decode_unverified(token)
    except MalformedTokenError:
        return
    assert token.isascii()
    assert token.isprintable()
