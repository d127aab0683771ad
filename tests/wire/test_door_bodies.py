"""Attack class 19: media types, sizes, codings; what arrives has a length and is as it was sent."""

from __future__ import annotations

import gzip

import pytest

from support.doors import BODY, JWT, DoorEnv, assert_refused, post

BEARER = f"Authorization: Bearer {JWT}"
LIMIT_BYTES = 8192


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    head = post(headers=(BEARER, "Transfer-Encoding: chunked"), body=b"")
    head = head.replace(b"Content-Length: 0\r\n", b"")
    parts = (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json", "Application/JSON", "application/json;charset=utf-8",
        "application/json; charset=UTF-8", 'application/json ; charset="utf-8"',
        "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf; charset=utf-8",
        "", "  application/json\t", None,
    ],
)  # fmt: skip
def test_json_and_protobuf_arrive_with_the_type_they_came_with_or_none(
    env: DoorEnv, media_type: str | None
) -> None:
    more = () if media_type is None else (f"Content-Type: {media_type}",)
    (arrived,) = env.send(post(headers=(BEARER, *more))).arrived
    assert arrived.header("content-type") == (media_type and media_type.strip())
    assert arrived.body == BODY


@pytest.mark.parametrize(
    "media_type",
    [
        "application/yaml", "application/json-patch+json", "application/merge-patch+json",
        "application/strategic-merge-patch+json", "application/apply-patch+yaml",
        "application/cbor", "application/xml", "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x", "text/plain", "text/json", "*/*", "application/*",
        "json", "application/jsonx", "xapplication/json", "application/json;",
        "application/json;stream=watch", "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json; charset=utf-16", "application/json; charset=utf8",
        "application/json; charset=utf-8; x=y", "application/json, application/yaml",
        "application/json,application/json", "application/yaml;application/json",
        "application/vnd.kubernetes.protobuf;type=watch", "application/j\xc5\xbfon",
        "\xefapplication/json", "application/json\xa0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_another_media_type_is_answered_415_and_goes_nowhere(
    env: DoorEnv, method: str, media_type: str
) -> None:
    body = BODY if method == "POST" else b""
    headers = (BEARER, f"Content-Type: {media_type}")
    env.assert_refuses(post(method=method, body=body, headers=headers), 415)


@pytest.mark.parametrize(
    "types",
    [
        ("application/json", "application/json"),
        ("application/json", "application/yaml"),
        ("application/yaml", ""),
    ],
)
def test_two_media_types_are_none_of_ours(env: DoorEnv, types: tuple[str, str]) -> None:
    headers = (BEARER, *(f"Content-Type: {media_type}" for media_type in types))
    env.assert_refuses(post(headers=headers), 415)


@pytest.mark.parametrize("size_bytes", [0, 1, 2, LIMIT_BYTES - 1, LIMIT_BYTES])
def test_a_body_of_at_most_8_kib_arrives_whole(env: DoorEnv, size_bytes: int) -> None:
    body = bytes(i % 256 for i in range(size_bytes))
    pieces = [body[i : i + 1000] for i in range(0, size_bytes, 1000)]
    for request in (post(body=body), chunked(*pieces)):
        (arrived,) = env.send(request).arrived
        assert arrived.body == body
        assert arrived.header("content-length") == (str(size_bytes))
        assert arrived.header("transfer-encoding") is None


@pytest.mark.parametrize("size_bytes", [LIMIT_BYTES + 1, 2 * LIMIT_BYTES, 100_000])
def test_a_larger_body_is_answered_413_and_goes_nowhere(env: DoorEnv, size_bytes: int) -> None:
    body = b"x" * size_bytes
    for request in (post(body=body), chunked(body), chunked(*[b"x" * 100] * (size_bytes // 99))):
        assert not env.assert_refuses(request, 413).closes


def test_a_length_that_is_announced_and_never_sent_costs_the_api_server_nothing(
    env: DoorEnv,
) -> None:
    request = post().replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 1000000000000")
    assert_refused(env.send(request + b"x" * LIMIT_BYTES).answer, 413)


def test_a_large_body_is_answered_alike_whatever_it_is_for(env: DoorEnv) -> None:
    """So a scanner learns nothing by it."""
    body = b"x" * (LIMIT_BYTES + 1)
    for request in (
        post("/nothing", body=body),
        post(host="evil.example.com", body=body),
        post(headers=(), body=body),
        post(method="PUT", body=body),
    ):
        env.assert_refuses(request, 413)


@pytest.mark.parametrize("size_bytes", [2, 100, LIMIT_BYTES, LIMIT_BYTES + 1])
@pytest.mark.parametrize("headers", [(), (BEARER,)])
def test_a_get_has_no_body(env: DoorEnv, headers: tuple[str, ...], size_bytes: int) -> None:
    env.assert_refuses(post(method="GET", headers=headers, body=b"x" * size_bytes), 413)


def test_a_get_of_one_byte_is_framed_by_its_length(env: DoorEnv) -> None:
    """One byte is the least that Envoy takes as a limit; it cannot begin a request of its own."""
    for request in (post(method="GET", body=b"x"), chunked(b"x").replace(b"POST", b"GET", 1)):
        (arrived,) = env.send(request).arrived
        assert (arrived.body, arrived.header("content-length")) == (b"x", "1")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity", "gzip, gzip", "x"])
def test_a_coded_body_arrives_as_it_is_and_is_not_called_coded(env: DoorEnv, coding: str) -> None:
    """The door unpacks nothing, so that nothing small becomes large; nor does the API server."""
    body = gzip.compress(b"{" + b" " * 1_000_000 + b"}")
    (arrived,) = env.send(post(body=body, extra=(f"Content-Encoding: {coding}",))).arrived
    assert arrived.body == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"spec":{"audiences":["gate"],"audiences":["api"]}}',
        b"k8s\x00\n\x2f",
        b"\x00" * 100,
        b"0\r\n\r\n",
    ],
)
def test_what_is_in_a_body_is_the_api_servers_to_judge(env: DoorEnv, body: bytes) -> None:
    for request in (post(body=body), chunked(*([body] if body else []))):
        (arrived,) = env.send(request).arrived
        assert arrived.body == body


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue", "200-ok", "x"])
def test_an_expectation_ends_at_the_door(env: DoorEnv, expect: str) -> None:
    outcome = env.send(post(extra=(f"Expect: {expect}",)))
    assert outcome.codes == [201]
    assert len(outcome.arrived) == 1


@pytest.mark.parametrize(
    "trailers",
    [
        b"X: y\r\n",
        b"Authorization: Bearer a.b.c\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: y\r\n" * 50,
    ],
)
def test_trailers_end_at_the_door(env: DoorEnv, trailers: bytes) -> None:
    outcome = env.send(chunked(BODY, trailers=trailers))
    assert outcome.answer.code in (201, 400, 431)
    for arrived in outcome.arrived:
        assert arrived.header("authorization") == f"Bearer {JWT}"
        assert arrived.body == BODY
