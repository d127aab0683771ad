"""The HTTP/1.1 parser: what it accepts and what it refuses."""

from __future__ import annotations

import pytest

from daypass.client.http1 import (
    HEAD_LIMIT_BYTES,
    HEADERS_LIMIT,
    RESPONSE_LIMIT_BYTES,
    HttpRequest,
    HttpResponse,
    MalformedResponseError,
    TruncatedResponseError,
    read_response,
)
from support.messages import raises

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
GO_ON = b"HTTP/1.1 100 Go on\r\n\r\n"


def shown(raw: bytes) -> str:
    """The answer as the name of a case: its beginning, and its length where it is long."""
    head = repr(raw.removeprefix(OK)[:60].replace(b"\r\n", b"|"))[2:-1]
    return head if len(raw) < 80 else f"{head[:30]} ({len(raw)} bytes)"


def parse(raw: bytes, *, to_connect: bool = False) -> HttpResponse:
    pieces = iter([raw, b""] if raw else [b""])
    return read_response(lambda: next(pieces), to_connect=to_connect)[0]


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi and more", 200, b"hi"),
        (b"HTTP/1.1 200 S\xfc\xdf\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", 204, b""),
        (OK + CHUNKED.title() + b"\r\nA;a=b\r\n0123456789\r\n00\r\n\r\n", 200, b"0123456789"),
        (OK + CHUNKED + b"\r\n1 \r\nx\r\n0\r\nA: b\r\n\r\n", 200, b"x"),
        (GO_ON + b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"\r\nx", 200, b"x"),
    ],
)  # fmt: skip
def test_an_answer_is_read(raw: bytes, status: int, body: bytes) -> None:
    response = parse(raw)
    assert (response.status, response.body) == (status, body)


def test_headers_are_found_by_their_name_in_lower_case() -> None:
    response = parse(OK + b"X-A:  1 \t\r\nx-a: 2\r\nEmpty:\r\nL: \xe9\r\n\r\n")
    assert response.header("x-a") == "1"
    assert response.header("empty") == ""
    assert response.header("l") == "é"
    assert response.header("none") == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n",
        b"http/1.1 200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 099 OK\r\n",
        b"HTTP/1.1 +20 OK\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 200 O\rK\r\n",
        OK + b"A: b\nC: d\r\n",
        OK + b"A: b\0\r\n",
        OK + b"no colon\r\n",
        OK + b": no name\r\n",
        OK + b"A : b\r\n",
        OK + b"A: b\r\n folded\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: 2, 2\r\n\r\n",
        OK + b"Content-Length: +2\r\n\r\n",
        OK + b"Content-Length: 9999999999999999999\r\n\r\n",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + CHUNKED + CHUNKED + b"\r\n",
        OK + CHUNKED + b"\r\nx\r\n",
        OK + CHUNKED + b"\r\n1\r\nab\r\n",
        OK + CHUNKED + b"\r\n0\r\nA b\r\n",
        OK + b"A: b\r\n" * (HEADERS_LIMIT + 1),
        OK + b"A: " + b"b" * HEAD_LIMIT_BYTES,
        GO_ON * 2000,
        OK + b"Content-Length: %d\r\n\r\n" % (RESPONSE_LIMIT_BYTES + 1),
        OK + CHUNKED + b"\r\n100001\r\n",
        OK + b"\r\n" + b"x" * (RESPONSE_LIMIT_BYTES + 1),
    ],
    ids=shown,
)  # fmt: skip
def test_a_malformed_answer_is_refused_early(raw: bytes) -> None:
    with raises(MalformedResponseError):
        read_response(iter([raw]).__next__)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        OK,
        OK + b"Content-Length: 2\r\n\r\nh",
        OK + CHUNKED + b"\r\n",
        OK + CHUNKED + b"\r\n2\r\nhi\r\n",
        b"HTTP/1.1 100 Go on\r\n\r\n",
    ],
)
def test_an_answer_that_ends_early_is_truncated(raw: bytes) -> None:
    with pytest.raises(TruncatedResponseError):
        parse(raw)


def test_a_body_as_large_as_the_limit_is_read() -> None:
    body = b"x" * RESPONSE_LIMIT_BYTES
    assert parse(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body).body == body
    assert parse(OK + b"\r\n" + body).body == body


def test_a_tunnel_response_has_no_body() -> None:
    raw = b"HTTP/1.1 200 Tunnel\r\nContent-Length: 5\r\n\r\nhello"
    response, leftover = read_response(iter([raw]).__next__, to_connect=True)
    assert (response.body, leftover) == (b"", b"hello")
    assert parse(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", to_connect=True).body == b"no"


@pytest.mark.parametrize("text", ["a\r\nb", "a\0", "é"])
def test_a_request_with_control_characters_is_refused(text: str) -> None:
    for request in (
        HttpRequest(method="GET", target=text, headers=()),
        HttpRequest(method="GET", target="/", headers=(("A", text),)),
        HttpRequest(method="GET", target="/", headers=((text, "b"),)),
    ):
        with raises(ValueError):
            request.encode()
