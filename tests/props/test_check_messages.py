"""A CheckRequest as Envoy writes it, and whatever else comes to the port."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daypass.gateway.reasons import Reason
from daypass.gateway.review.answers import Answer
from daypass.gateway.review.check_messages import (
    LIMIT_BYTES,
    MalformedMessageError,
    _message,
    _number,
    _walk,
    read_check,
    response,
)


def check(host: bytes, headers: list[tuple[bytes, bytes]], noise: bytes = b"") -> bytes:
    entries = b"".join(_message(3, _message(1, k) + _message(2, v)) for k, v in headers)
    http = _message(1, b"id") + _message(2, b"GET") + entries + _message(5, host) + _number(9, 0)
    request = _message(1, _number(1, 1800000000)) + _message(2, http + noise)
    return _message(1, _message(1, b"peer") + _message(4, request) + noise) + noise


words = st.binary(max_size=40)
noise = st.sampled_from([b"", _number(99, 2**63), _message(98, b"x"), b"\xad\x06" + b"1234"])


@given(host=words, headers=st.lists(st.tuples(words, words), max_size=8), noise=noise)
def test_what_envoy_writes_is_read(
    host: bytes, headers: list[tuple[bytes, bytes]], noise: bytes
) -> None:
    question = read_check(check(host, headers, noise))
    assert question.host == host
    expected = [value for name, value in headers if name.lower() == b"authorization"]
    assert list(question.authorizations) == expected


@given(content=st.binary(max_size=200))
@example(content=b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(content=b"\x0b\x0c")
@example(content=b"\x02\x00")
def test_other_bytes_are_refused_or_read_as_no_token(content: bytes) -> None:
    try:
        question = read_check(content)
    except MalformedMessageError:
        return
    assert question.authorizations == ()


@given(host=words, at=st.integers(0, 60), byte=st.integers(0, 255))
def test_a_bent_message_never_brings_another_token(host: bytes, at: int, byte: int) -> None:
    content = bytearray(check(host, [(b"authorization", b"TOKEN")]))
    content[at % len(content)] = byte
    try:
        question = read_check(bytes(content))
    except MalformedMessageError:
        return
    assert len(question.authorizations) <= 1


def test_two_requests_in_one_message_are_refused() -> None:
    whole = check(b"h", [(b"authorization", b"a")])
    with pytest.raises(MalformedMessageError):
        read_check(whole + check(b"h", [(b"authorization", b"b")]))


def test_a_header_with_two_values_is_refused() -> None:
    entry = _message(3, _message(1, b"authorization") + _message(2, b"a") + _message(2, b"b"))
    http = entry + _message(5, b"h")
    with pytest.raises(MalformedMessageError):
        read_check(_message(1, _message(4, _message(2, http))))


@pytest.mark.parametrize(
    "content", [b"x" * (LIMIT_BYTES + 1), _message(1, _number(1, 1) * 100_000)]
)
def test_what_is_too_much_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        read_check(content)


def test_an_answer_says_which_headers_are_set_and_removed() -> None:
    allowed = Answer(Reason.ALLOWED, 200, [("user", "u")], removed=("authorization",))
    (status, ok) = [(number, value) for number, value in _walk(response(allowed))]
    assert (status, ok[0]) == ((1, b"\x08\x00"), 3)
    assert [number for number, _ in _walk(ok[1])] == [2, 5]
    refused = Answer(Reason.UNKNOWN, 503, [("retry-after", "1")], "body")
    (status, denied) = [(number, value) for number, value in _walk(response(refused))]
    assert (status, denied[0]) == ((1, b"\x08\x0e"), 2)
    parts = dict(_walk(denied[1]))
    assert (parts[1], parts[3]) == (b"\x08\xf7\x03", b"body")
