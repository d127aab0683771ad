"""The parser terminates on any bytes, and its result does not depend on how they are split."""

from __future__ import annotations

import http.client
import io
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from daypass.client.http1 import (
    HttpResponse,
    MalformedResponseError,
    TruncatedResponseError,
    read_response,
)

Outcome = tuple[Any, ...]


def outcome(pieces: list[bytes]) -> Outcome:
    """The result for a response that arrives in these pieces."""
    try:
        response, _ = read_response(iter([*filter(None, pieces), b""]).__next__)
    except MalformedResponseError as error:
        return ("malformed", str(error))
    except TruncatedResponseError:
        return ("truncated",)
    return (response.status, response.headers, response.body)


def split(raw: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(raw) + 1) for cut in cuts})
    return [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding")
)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
BODIES = st.binary(max_size=200)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid response in one of three forms, perhaps after interim responses."""
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    # 204 and 304 have no body (RFC 9110), but http.client reads a chunked one.
    status = draw(st.integers(200, 599).filter(lambda code: code not in (204, 304)))
    version = draw(st.sampled_from([b"1.0", b"1.1"]))
    headers = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    lines = [b"HTTP/%s %d Some reason" % (version, status)]
    lines += [f"{name}: {value}".encode() for name, value in headers]
    body = draw(BODIES)
    form = draw(st.sampled_from(["length", "chunked", "end"]))
    if form == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif form == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        pieces = split(body, draw(st.lists(st.integers(0, 200), max_size=4)))
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
    return interim + b"\r\n".join([*lines, b"", b""]) + body


CUTS = st.lists(st.integers(0, 2000), max_size=20)


@given(raw=answers(), cuts=CUTS)
def test_a_valid_response_is_parsed_alike_however_it_is_split(raw: bytes, cuts: list[int]) -> None:
    whole = outcome([raw])
    assert isinstance(whole[0], int)
    assert outcome(split(raw, cuts)) == whole
    assert outcome([bytes([byte]) for byte in raw]) == whole


@given(raw=answers(), end=st.integers(0, 2000), flips=st.lists(st.integers(0, 2000)), cuts=CUTS)
def test_a_damaged_response_is_parsed_alike_however_it_is_split(
    raw: bytes, end: int, flips: list[int], cuts: list[int]
) -> None:
    damaged = bytearray(raw[:end])
    for flip in flips:
        if damaged:
            damaged[flip % len(damaged)] ^= 1 << flip % 8
    assert outcome(split(bytes(damaged), cuts)) == outcome([bytes(damaged)])


@given(raw=st.binary(max_size=400), begins=st.booleans(), cuts=CUTS)
@example(raw=b"\n" * 100, begins=True, cuts=[])
def test_arbitrary_bytes_give_a_response_or_an_error(
    raw: bytes, begins: bool, cuts: list[int]
) -> None:
    if begins:
        raw = b"HTTP/1.1 200 OK\r\n" + raw
    assert outcome(split(raw, cuts)) == outcome([raw])


class _Socket:
    """The part of a socket that http.client needs to read a response."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def by_http_client(raw: bytes) -> HttpResponse:
    reader = http.client.HTTPResponse(_Socket(raw), method="POST")  # type: ignore[arg-type]
    try:
        reader.begin()
        headers = tuple((name.lower(), value) for name, value in reader.getheaders())
        return HttpResponse(status=reader.status, headers=headers, body=reader.read())
    finally:
        reader.close()


@given(raw=answers())
def test_a_valid_response_is_parsed_as_by_http_client(raw: bytes) -> None:
    ours, theirs = outcome([raw]), by_http_client(raw)
    assert ours == (theirs.status, theirs.headers, theirs.body)
