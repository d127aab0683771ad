"""Reading a JSON Web Token without believing it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.jwt import MalformedTokenError, decode_unverified


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_header_and_claims_are_read() -> None:
    token = f"{part({'alg': 'RS256'})}.{part({'sub': 'x', 'n': [1, None]})}.c2ln"
    assert decode_unverified(token) == ({"alg": "RS256"}, {"sub": "x", "n": [1, None]})


def test_the_signature_may_be_empty() -> None:
    assert decode_unverified(f"{part({})}.{part({})}.") == ({}, {})


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "three parts"),
        ("a.b", "three parts"),
        (f"{part({})}.{part({})}.c2ln.", "three parts, this one has 4"),
        ("..", "header cannot be decoded"),
        (f"{part([])}.{part({})}.c2ln", "header is not a JSON object"),
        (f"{part({})}.{part('x')}.c2ln", "claims is not a JSON object"),
        (f"{part({})}.{part({})}=.c2ln", "claims cannot be decoded"),
        (f"{part({})}.{part({})} .c2ln", "claims cannot be decoded"),
        (f"{part({})}.{part({})}.c2\r\nX: y", "signature cannot be decoded"),
        (f"{part({})}.{part({})}.\u0661", "signature cannot be decoded"),
        ("x" * 17_000, "more than 16384 characters"),
    ],
)
def test_what_is_no_token_is_told_without_showing_it(token: str, said: str) -> None:
    with pytest.raises(MalformedTokenError, match=said) as raised:
        decode_unverified(token)
    assert raised.value.__cause__ is None
    assert len(str(raised.value)) < 100


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_read_or_refused(token: str) -> None:
    try:
        decode_unverified(token)
    except MalformedTokenError:
        return
    assert token.isascii()
    assert token.isprintable()
