"""Attack class 20 over HTTP/2: what becomes HTTP/1.1 behind the door was HTTP in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from support.doors import (
    BODY,
    EKF,
    JWT,
    PATH,
    UPSTREAM_PATH,
    DoorEnv,
    assert_refused,
    http2,
    http2_fields,
    send_http2,
)
from support.h2c import Fields

REFUSED_HEADERS = 2


def test_a_token_request_over_http2_arrives_exactly(env: DoorEnv) -> None:
    reply, (arrived,) = send_http2(env, http2_fields())
    assert (reply.code, reply.json["kind"]) == (201, "TokenRequest")
    assert arrived.request_line == f"POST {UPSTREAM_PATH} HTTP/1.1"
    assert (arrived.body, arrived.header("content-length")) == (BODY, str(len(BODY)))


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (http2_fields(path=PATH + "/"), 404),
        (http2_fields(path=PATH + "?dryRun=All"), 404),
        (http2_fields(path=PATH.replace("bot/", "bot%2f")), 404),
        (http2_fields(path=PATH.replace("team", "x/../team")), 404),
        (http2_fields(path=PATH + "\xe9"), 404),
        (http2_fields(path=PATH + "#x"), 400),
        (http2_fields(authority="evil.example.com"), 404),
        (http2_fields(authority=f"{EKF}."), 404),
        (http2_fields(("host", "evil.example.com"), authority=None), 404),
        (http2_fields(method="PUT"), 405),
        (http2_fields(method="post"), 405),
        (http2_fields(("authorization", f"Bearer {JWT}")), 401),
        (http2_fields()[:4], 401),
        ([*http2_fields()[:4], ("authorization", f" Bearer {JWT}")], 401),
        ([*http2_fields()[:5], ("content-type", "application/yaml")], 415),
        (http2_fields(("content-type", "application/json")), 415),
    ],
)
def test_what_is_not_published_gets_the_same_answers_as_over_http_1(
    env: DoorEnv, block: Fields, code: int
) -> None:
    reply, arrived = send_http2(env, block)
    assert_refused(reply, code)
    assert arrived == ()


@pytest.mark.parametrize(
    "block",
    [
        http2_fields(authority=f"{EKF}:8443"),
        http2_fields(("host", "evil.example.com")),
        http2_fields(("host", EKF), authority=None),
        http2_fields(scheme="http"),
        http2_fields(("te", "trailers")),
        http2_fields(("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")),
        http2_fields(("cookie", "a=b"), ("cookie", "c=d")),
        http2_fields(("x-envoy-retry-on", "5xx"), ("x-forwarded-for", "1.2.3.4")),
        http2_fields(("expect", "100-continue")),
        http2_fields(("content-length", f"0{len(BODY)}")),
        http2_fields(("user-agent", " a ")),
    ],
)
def test_headers_of_http2_end_at_the_door(env: DoorEnv, block: Fields) -> None:
    reply, (arrived,) = send_http2(env, block)
    assert reply.code == 201
    assert arrived.header("host") == "kubernetes.default.svc"
    assert arrived.header("x-forwarded-for") == "127.0.0.1"
    assert arrived.body == BODY


CR_LF_NUL = ("\r", "\n", "\r\n", "\x00", "\r\nImpersonate-User: admin", "\r\n\r\nGET / HTTP/1.1")


def blocks_that_are_no_http() -> Iterator[Fields]:
    """Header blocks that would be something else as HTTP/1.1, or that RFC 9113 forbids."""
    # 1. Line ends and NULs, in every place (RFC 9113, 8.2.1).
    for end in CR_LF_NUL:
        yield http2_fields(("user-agent", f"a{end}b"))
        yield http2_fields(("x", f"a{end}"))
        yield http2_fields((f"x{end}", "a"))
        yield http2_fields(path=PATH + end)
        yield http2_fields(path=f"{PATH} HTTP/1.1{end}X: y")
        yield http2_fields(method=f"POST{end}")
        yield http2_fields(authority=f"{EKF}{end}")
        yield http2_fields(scheme=f"https{end}")
        yield [*http2_fields()[:4], ("authorization", f"Bearer {JWT}{end}")]
    # 2. White space where HTTP/1.1 has none.
    for white in (" ", "\t", "\x0b"):
        yield http2_fields(path=PATH + white)
        yield http2_fields(path=white + PATH)
        yield http2_fields(method="POST" + white)
        yield http2_fields(authority=EKF + white)
        yield http2_fields((f"x{white}", "a"))
    # 3. Names: capitals, colons, nothing (8.2).
    for name in ("X-Upper", "Authorization", "x:", "", ":foo", ":status", "\xe9", "x(y)", "a,b"):
        yield http2_fields((name, "x"))
    # 4. Headers of a connection (8.2.2).
    for name, value in (
        ("connection", "authorization"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
    ):
        yield http2_fields((name, value))
    # 5. Pseudo-headers: missing, empty, twice, after others, of another kind (8.3).
    for missing in ("method", "scheme", "path", "authority"):
        yield http2_fields(**{missing: None})
        yield http2_fields(**{missing: ""})
        yield [(f":{missing}", dict(http2_fields())[f":{missing}"]), *http2_fields()]
        yield [*http2_fields(), (f":{missing}", dict(http2_fields())[f":{missing}"])]
    yield [(":path", "/api/v1/secrets"), *http2_fields()]
    yield [*http2_fields()[1:], http2_fields()[0]]
    yield http2_fields(("host", EKF), ("host", "evil.example.com"), authority=None)
    # 6. Another target than a path, a tunnel, a protocol (RFC 8441).
    for target in ("*", f"https://{EKF}{PATH}", PATH[1:], f"{EKF}:443"):
        yield http2_fields(path=target)
    yield http2_fields(method="CONNECT")
    yield [(":method", "CONNECT"), (":protocol", "websocket"), *http2_fields()[1:]]
    yield http2_fields((":protocol", "websocket"))
    yield [(":protocol", "websocket"), *http2_fields()]
    # 7. User information in the authority.
    yield http2_fields(authority=f"user@{EKF}")


@pytest.mark.parametrize("part", range(4))
def test_what_is_no_http_ends_the_stream_or_the_connection_and_goes_nowhere(
    env: DoorEnv, part: int
) -> None:
    blocks = [*blocks_that_are_no_http()][part::4]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(http2(env)) for _ in blocks]
        sent = [c.send(block, BODY) for c, block in zip(clients, blocks, strict=True)]
        replies = [c.wait(stream) for c, stream in zip(clients, sent, strict=True)]
    for block, reply in zip(blocks, replies, strict=True):
        assert reply.ended_by_door, (block, reply)
    assert env.arrived() == ()


@pytest.mark.parametrize("target", ["", f"{EKF}:443", "kubernetes.default.svc:443", EKF])
def test_connect_opens_no_tunnel(env: DoorEnv, target: str) -> None:
    reply, arrived = send_http2(env, [(":method", "CONNECT"), (":authority", target)], b"")
    assert reply.ended_by_door or reply.code in (403, 404)
    assert arrived == ()


LENGTHS = [
    "5", "30", "32", "0", "1000000", "+31", "-31", " 31", "31 ", "0x1f", "31, 31", "",
    "99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("lengths", [*((each,) for each in LENGTHS), ("31", "31"), ("31", "0")])
def test_a_length_that_is_not_the_bodys_or_comes_twice_ends_the_stream(
    env: DoorEnv, lengths: tuple[str, ...]
) -> None:
    """HTTP/2 frames are the length; behind the door the header would be (RFC 9113, 8.1.1)."""
    assert len(BODY) == 31
    block = http2_fields(*(("content-length", length) for length in lengths))
    for body in (BODY, b"") if lengths == ("5",) else (BODY,):
        reply, arrived = send_http2(env, block, body)
        assert reply.ended_by_door
        assert arrived == ()


@pytest.mark.parametrize(("size_bytes", "code"), [(8192, 201), (8193, 413), (60_000, 413)])
def test_the_limit_of_a_body_is_the_same(env: DoorEnv, size_bytes: int, code: int) -> None:
    reply, arrived = send_http2(env, http2_fields(), b"x" * size_bytes)
    assert reply.code == code
    assert [len(recorded.body) for recorded in arrived] == [size_bytes] * (code == 201)


@pytest.mark.parametrize(("body", "code"), [(b"", 201), (b"x", 201), (b"xx", 413)])
def test_a_get_has_no_body(env: DoorEnv, body: bytes, code: int) -> None:
    reply, arrived = send_http2(env, http2_fields(method="GET"), body)
    assert reply.code == code
    assert [recorded.body for recorded in arrived] == [body] * (code == 201)


@pytest.mark.parametrize(
    "trailers",
    [
        [("x", "y")],
        [("authorization", "Bearer a.b.c")],
        [("impersonate-user", "admin"), ("x-envoy-internal", "true")],
    ],
)
@pytest.mark.parametrize("body", [BODY, b""])
def test_trailers_end_at_the_door(env: DoorEnv, trailers: Fields, body: bytes) -> None:
    reply, (arrived,) = send_http2(env, http2_fields(), body, trailers=trailers)
    assert reply.code == 201
    assert (arrived.body, arrived.header("content-length")) == (body, str(len(body)))


@pytest.mark.parametrize(
    "trailers", [[(":path", "/api")], [("content-length", "3")], [("X", "y")], [("x", "a\r\nb: c")]]
)
def test_trailers_that_are_no_http_end_the_stream(env: DoorEnv, trailers: Fields) -> None:
    reply, arrived = send_http2(env, http2_fields(), BODY, trailers=trailers)
    assert reply.ended_by_door
    assert arrived == ()


@pytest.mark.parametrize(
    "more",
    [
        [("impersonate_user", "admin")],
        [("x", "y" * 20_000)],
        [(f"x{i}", "y") for i in range(100)],
    ],
)
def test_headers_beyond_the_limits_end_the_stream_alone(
    env: DoorEnv, more: list[tuple[str, str]]
) -> None:
    with http2(env) as client:
        assert client.request(http2_fields(*more), BODY).reset == REFUSED_HEADERS
        assert client.request(http2_fields(), BODY).code == 201
    assert len(env.arrived()) == 1


def test_many_streams_at_once_arrive_each_exactly_once(env: DoorEnv) -> None:
    with http2(env) as client:
        streams = [
            client.send(http2_fields(path=PATH.replace("bot", f"bot-{i}"))) for i in range(100)
        ]
        assert {client.wait(stream).code for stream in streams} == {201}
    assert len({recorded.request_line for recorded in env.arrived()}) == 100
