"""Attack class 20: where a request ends is the same for the door and for the API server."""

from __future__ import annotations

import pytest

from support.doors import BODY, EKF, JWT, PATH, DoorEnv, assert_refused, post
from support.raw import Conversation

LINES = (f"POST {PATH} HTTP/1.1", f"Host: {EKF}", f"Authorization: Bearer {JWT}")
CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
SMUGGLED = b"POST /api/v1/secrets HTTP/1.1\r\nHost: kubernetes.default.svc\r\nX: y\r\n\r\n"


def framed(*headers: str, body: bytes = BODY) -> bytes:
    return "\r\n".join([*LINES, *headers]).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return framed("Transfer-Encoding: chunked", body=body)


LENGTH = f"Content-Length: {len(BODY)}"
REFUSED_LENGTHS = [
    "+31", "-31", "0x1f", "31,31", "31, 31", "31 31", "31;", "31.0", "3_1", "1e1", "", "x",
    "\x0b31", "31\x0b", "18446744073709551647", "99999999999999999999999999", "\xb31",
    "(31)", '"31"',
]  # fmt: skip


@pytest.mark.parametrize("length", REFUSED_LENGTHS)
def test_a_length_that_two_parsers_could_read_differently_is_refused(
    env: DoorEnv, length: str
) -> None:
    assert env.assert_refuses(framed(f"Content-Length: {length}"), 400).closes


@pytest.mark.parametrize("length", ["31", "031", "0000000000000000000031", " 31 ", "\t31\t"])
def test_a_length_that_everybody_reads_alike_is_the_bodys(env: DoorEnv, length: str) -> None:
    (arrived,) = env.send(framed(f"Content-Length: {length}")).arrived
    assert arrived.body == BODY


@pytest.mark.parametrize(
    "headers",
    [
        (LENGTH, LENGTH),
        (LENGTH, "Content-Length: 30"),
        (LENGTH, "Content-Length:"),
        (LENGTH, "Content-Length : 31"),
        (LENGTH, "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", LENGTH),
        ("Transfer-Encoding:\r\n chunked", LENGTH),
        ("Transfer-Encoding: Chunked", LENGTH),
        ("Transfer-Encoding : chunked", LENGTH),
        ("Transfer-Encoding\t: chunked", LENGTH),
        (" Transfer-Encoding: chunked", "Transfer-Encoding: chunked", LENGTH),
        ("X: y\nTransfer-Encoding: chunked", LENGTH),
        (LENGTH, "Transfer-Encoding: \x0bchunked"),
        (LENGTH, "Transfer-Encoding\x00: chunked"),
        (LENGTH, "Transfer_Encoding: chunked"),
    ],
)
def test_two_lengths_are_none(env: DoorEnv, headers: tuple[str, ...]) -> None:
    """CL.CL, CL.TE, TE.CL and what hides one of the two."""
    for body in (BODY, CHUNKED, b"0\r\n\r\n" + SMUGGLED):
        assert env.assert_refuses(framed(*headers, body=body), 400, 501).closes


@pytest.mark.parametrize(
    "coding",
    [
        "identity", "identity, chunked", "chunked, identity", "chunked, chunked", "gzip, chunked",
        "gzip", "xchunked", "chunkedx", "chunk", "chunked;q=1", "chunked,", ",chunked", '"chunked"',
        "'chunked'", "chunked chunked", "cow", "", "\xe9chunked", "chunked\xa0",
    ],
)  # fmt: skip
def test_another_transfer_coding_than_chunked_is_answered_501(env: DoorEnv, coding: str) -> None:
    header = f"Transfer-Encoding: {coding}"
    assert env.assert_refuses(framed(header, body=CHUNKED), 501).closes
    assert env.assert_refuses(framed(header, LENGTH, body=CHUNKED), 400, 501).closes


def test_transfer_encoding_twice_is_answered_501(env: DoorEnv) -> None:
    for other in ("chunked", "identity", "x"):
        codings = (f"Transfer-Encoding: {other}", "Transfer-Encoding: chunked")
        for headers in (codings, codings[::-1]):
            env.assert_refuses(framed(*headers, body=CHUNKED), 501)


@pytest.mark.parametrize(
    "body",
    [
        b"2\r\n{}\r\n0\r\n\r\n", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"02\r\n{}\r\n000\r\n\r\n",
        b"2;extension=1\r\n{}\r\n0;x\r\n\r\n", b'2;extension="\r\n{}\r\n0\r\n\r\n',
        b"2 \r\n{}\r\n0\r\n\r\n", b"2\r\n{}\n0\r\n\r\n", b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
    ],
)  # fmt: skip
def test_chunks_arrive_as_one_body_with_a_length(env: DoorEnv, body: bytes) -> None:
    (arrived,) = env.send(chunked(body)).arrived
    assert (arrived.body, arrived.header("content-length")) == (b"{}", "2")


@pytest.mark.parametrize(
    "body",
    [
        b"2\n{}\n0\n\n",
        b"2\r\n{}0\r\n\r\n",
        b"2\r{}\r\n0\r\n\r\n",
        b"2;\n{}\r\n0\r\n\r\n",
        b"2;a\rb\r\n{}\r\n0\r\n\r\n",
        b" 2\r\n{}\r\n0\r\n\r\n",
        b"+2\r\n{}\r\n0\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b"\r\n2\r\n{}\r\n0\r\n\r\n",
        b"10000000000000002\r\n{}\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        b"2\x00\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nImpersonate User: x\r\n\r\n",
    ],
)
def test_a_chunk_that_two_parsers_could_read_differently_is_refused(
    env: DoorEnv, body: bytes
) -> None:
    # 408: it is read as the beginning of a chunk that does not fit, and waited for.
    env.assert_refuses(chunked(body) + b"x" * 9000, 400, 408, 413)


def test_endless_chunk_extensions_are_bounded(env: DoorEnv) -> None:
    """CVE-2023-44487's poor relation: bytes that are no body and count against no limit."""
    outcome = env.send(chunked(b"2;" + b"x" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n"))
    assert outcome.answer.code in (201, 400, 413)
    for arrived in outcome.arrived:
        assert arrived.body == b"{}"


@pytest.mark.parametrize(
    "request_",
    [
        framed(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
        chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
        framed(f"Content-Length: {len(SMUGGLED)}", "Connection: content-length", body=SMUGGLED),
    ],
)
def test_a_request_in_a_body_is_a_body(env: DoorEnv, request_: bytes) -> None:
    outcome = env.send(request_)
    assert outcome.codes == [201]
    (arrived,) = outcome.arrived
    assert arrived.body == SMUGGLED


@pytest.mark.parametrize("headers", [(), ("Content-Length: 0",), ("Content-Length: 3",)])
def test_what_follows_a_request_is_judged_as_the_next_one(
    env: DoorEnv, headers: tuple[str, ...]
) -> None:
    outcome = env.send(framed(*headers, body=b"{ }" * ("3" in "".join(headers)) + SMUGGLED))
    assert outcome.codes == [201, 404]
    assert len(outcome.arrived) == 1
    assert_refused(outcome.answers[1], 404)


@pytest.mark.parametrize(
    "refused",
    [
        post("/nothing", body=SMUGGLED),
        post(headers=(), body=SMUGGLED),
        post(method="PUT", body=SMUGGLED),
        post(headers=(f"Authorization: Bearer {JWT}", "Content-Type: x/y"), body=SMUGGLED),
        post(method="HEAD", body=SMUGGLED),
    ],
)
def test_the_body_of_a_refused_request_is_not_read_as_the_next_one(
    env: DoorEnv, refused: bytes
) -> None:
    outcome = env.send(refused + post())
    assert outcome.answer.code in (401, 404, 405, 415)
    assert outcome.codes[1:] == [201]
    assert len(outcome.arrived) == 1


def test_requests_in_one_go_arrive_one_by_one_in_order(env: DoorEnv) -> None:
    names = [f"bot-{i}" for i in range(20)]
    paths = [PATH.replace("bot", name) for name in names]
    with env.door.connect() as connection:
        conversation = Conversation(connection)
        conversation.send(b"".join(post(path, body=path.encode()) for path in paths))
        assert {conversation.answer().code for _ in paths} == {201}
    assert [arrived.body.decode() for arrived in env.arrived()] == paths


def test_nothing_behind_an_error_is_read(env: DoorEnv) -> None:
    for error in (post("/a b"), framed("Content-Length: x"), post(extra=("a_b: c",))):
        outcome = env.send(error + post() + post())
        assert outcome.codes == [400]
        assert outcome.arrived == ()


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0"])
def test_another_version_of_http_is_answered_426(env: DoorEnv, version: str) -> None:
    assert env.assert_refuses(post().replace(b"HTTP/1.1", version.encode()), 426).closes


@pytest.mark.parametrize("version", ["http/1.1", "HTTP/1,1", "HTTP /1.1", "HTTPS/1.1", "X/1.1"])
def test_what_is_no_version_of_http_is_answered_400(env: DoorEnv, version: str) -> None:
    env.assert_refuses(post().replace(b"HTTP/1.1", version.encode()), 400)


@pytest.mark.parametrize(
    "request_",
    [
        post().replace(b"\r\n", b"\n"),
        b"\r\n\r\n" + post(),
        post().replace(b"\r\n\r\n", b"\r\n\n", 1),
        post().replace(b"\r\n\r\n", b"\n\r\n", 1),
        post(extra=("X: y\nContent-Type: application/json",)),
    ],
)
def test_ends_of_lines_that_envoy_tolerates_arrive_as_they_should_be(
    env: DoorEnv, request_: bytes
) -> None:
    """A bare LF may be taken for the end of a line (RFC 9112, 2.2); none is passed on."""
    outcome = env.send(request_)
    assert outcome.answer.code in (201, 400, 415)
    assert len(outcome.arrived) == (outcome.answer.code == 201)


@pytest.mark.parametrize(
    "garbage",
    [
        f"GET {PATH}\r\n\r\n".encode(),
        b"\x16\x03\x01\x00\x05hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 100,
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + post(),
        b"\r\n\r\n\r\n\r\nx\r\n\r\n",
    ],
)
def test_garbage_ends_the_connection_and_goes_nowhere(env: DoorEnv, garbage: bytes) -> None:
    outcome = env.send(garbage)
    assert outcome.answer.closes
    assert outcome.arrived == ()


FLOODS = {
    "a long value": post(extra=("X: " + "y" * 20_000,)),
    "a long name": post(extra=("X" * 20_000 + ": y",)),
    "many long values": post(extra=tuple(f"X-{i}: {'y' * 1000}" for i in range(30))),
    "a long value that travels on": post(extra=("User-Agent: " + "y" * 20_000,)),
    "a long target": post(PATH + "x" * 20_000),
    **{f"{n} headers": post(extra=tuple(f"X{i}: y" for i in range(n))) for n in (64, 100, 1000)},
}


@pytest.mark.parametrize("flood", FLOODS)
def test_large_and_many_headers_are_answered_431(env: DoorEnv, flood: str) -> None:
    assert env.assert_refuses(FLOODS[flood], 431).closes


def test_a_client_with_its_usual_headers_is_far_from_the_limits(env: DoorEnv) -> None:
    extra = (*(f"X{i}: y" for i in range(50)), "X: " + "y" * 10_000)
    assert len(env.send(post(extra=extra)).arrived) == 1
