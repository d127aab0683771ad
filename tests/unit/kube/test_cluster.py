"""Requests to an API server: retries, limits, watches, and what their errors say."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import DaypassError
from daypass.kube import cluster as limits
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import ApiError, BrokenResponseError, ClusterUnreachableError
from daypass.kube.resources import NAMESPACES, SECRETS
from support.fake_door import (
    Behaviour,
    answer,
    long_lived_token,
    read_request,
    reset,
    status_answer,
)
from support.messages import raises
from unit.kube.conftest import EMPTY, OBJECT, Open, Plugin, authorization


def twice(first: bytes, then: Behaviour) -> Behaviour:
    """Keep the connection after an answer, and do something else with the next request."""

    def behave(connection: Any) -> None:
        connection.sendall(first)
        read_request(connection)
        then(connection)

    return behave


def test_a_connection_that_broke_while_idle_or_during_a_wait_is_reopened(opened: Open) -> None:
    cluster, server = opened(twice(EMPTY, reset), EMPTY)
    assert cluster.list(NAMESPACES) == []
    assert cluster.list(NAMESPACES) == []
    assert len(server.requests) == 2
    busy = status_answer(429, "too many requests", "Retry-After: 3")
    cluster, server = opened(twice(busy, reset), EMPTY)
    assert cluster.list(NAMESPACES) == []
    assert len(server.requests) == 2


def test_a_create_request_is_never_sent_twice(opened: Open) -> None:
    cluster, server = opened(reset, OBJECT)
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    with pytest.raises(ClusterUnreachableError):
        cluster.create(document)
    assert len(server.requests) == 1


def test_an_overloaded_api_server_is_retried_after_its_retry_after(opened: Open) -> None:
    busy = status_answer(429, "too many requests", "Retry-After: 3")
    slow = status_answer(503, "later", "Retry-After: 86400")
    sleeps: list[float] = []
    cluster, _ = opened(busy, slow, EMPTY, sleeps=sleeps)
    assert cluster.list(NAMESPACES) == []
    assert sleeps == [3.0, 10.0]


def test_retries_are_limited_and_need_a_retry_after(opened: Open) -> None:
    sleeps: list[float] = []
    cluster, server = opened(status_answer(429, "too many", "Retry-After: 1"), sleeps=sleeps)
    with pytest.raises(ApiError, match="too many"):
        cluster.list(NAMESPACES)
    assert (len(server.requests), sleeps) == (5, [1.0] * 4)
    cluster, server = opened(status_answer(503, "broken"), sleeps=sleeps)
    with pytest.raises(ApiError, match="broken"):
        cluster.list(NAMESPACES)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body", ["<html>please log in</html>", "[1]", "[" * 100_000], ids=["a page", "a list", "nested"]
)
def test_an_answer_that_is_not_from_an_api_server_is_an_error(opened: Open, body: str) -> None:
    cluster, _ = opened(answer(200, body, content_type="text/html"))
    with raises(ClusterUnreachableError, match=r"127\.0\.0\.1:\d+"):
        cluster.list(NAMESPACES)


def test_a_redirect_is_not_followed(opened: Open) -> None:
    cluster, server = opened(answer(302, "", "Location: https://evil.test/"))
    with raises(ApiError, match="302"):
        cluster.list(NAMESPACES)
    assert len(server.requests) == 1


def events(*objects: object) -> bytes:
    body = "".join(json.dumps(each) + "\n" for each in objects)
    return answer(200, body)


@pytest.mark.parametrize("as_event", [False, True])
def test_a_watch_from_an_expired_version_is_a_410(opened: Open, as_event: bool) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    expired = events({"type": "ERROR", "object": status})
    cluster, _ = opened(expired if as_event else status_answer(410, "too old"))
    with pytest.raises(ApiError, match="too old") as gone:
        list(cluster.watch(NAMESPACES, None, "1"))
    assert gone.value.status.code == 410


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ty\r\n",
        answer(200, '{"type": "ADDED", "obj'),
    ],
    ids=["length", "chunks", "json"],
)  # fmt: skip
def test_a_broken_watch_is_an_error(opened: Open, broken: bytes) -> None:
    cluster, _ = opened(broken)
    with raises(ClusterUnreachableError, match=r"127\.0\.0\.1:\d+", hide="(?<=reached: ).*"):
        list(cluster.watch(NAMESPACES, None, "1"))


QUOTED = f"Bearer {long_lived_token()}, {long_lived_token()[60:]}"


@pytest.mark.parametrize(
    "raw",
    [
        status_answer(403, QUOTED),
        status_answer(403, QUOTED.replace(".", "%2E")),
        answer(502, QUOTED),
        answer(200, QUOTED),
        answer(200, json.dumps([QUOTED])),
        f"HTTP/1.1 {QUOTED}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n{QUOTED}\r\n\r\n".encode(),
    ],
    ids=["403", "403 encoded", "502", "200", "200 list", "status line", "header"],
)
def test_no_error_quotes_a_part_of_the_token_that_was_sent(opened: Open, raw: bytes) -> None:
    token = long_lived_token()
    cluster, _ = opened(raw, raw, user={"token": token})
    watch = cluster.watch(SECRETS, None, "1")
    for ask in (lambda: cluster.list(SECRETS), lambda: next(watch)):
        with pytest.raises(DaypassError) as raised:
            ask()
        told = f"{raised.value} {vars(raised.value)} {getattr(raised.value, 'status', '')!r}"
        assert not any(token[at : at + 16] in told for at in range(len(token) - 15))


def endless(head: str, piece: bytes) -> Behaviour:
    """An answer that never ends, until the other side hangs up."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode())
        with suppress(OSError):
            while True:
                connection.sendall(piece)

    return behave


BOMB = gzip.compress(bytes(2**24))
BOMB_HEAD = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n\r\n"


@pytest.mark.parametrize(
    ("answers", "limit", "value"),
    [
        (endless("200 OK", bytes(65536)), "LIMIT_BYTES", 2**20),
        (endless("403 Forbidden", bytes(65536)), "LIMIT_BYTES", 2**20),
        (endless("503 Busy\r\nRetry-After: 1", bytes(65536)), "LIMIT_BYTES", 2**20),
        (BOMB_HEAD.encode() + BOMB, "LIMIT_BYTES", 2**20),
        (endless("200 OK", b" "), "LIMIT_SECONDS", 0.2),
    ],
    ids=["200", "403", "503", "gzip bomb", "slow"],
)
def test_an_endless_answer_is_aborted(
    opened: Open, answers: bytes | Behaviour, limit: str, value: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(limits, limit, value)
    cluster, _ = opened(answers)
    with raises(BrokenResponseError, match=r"127\.0\.0\.1"):
        cluster.list(SECRETS)


@pytest.mark.parametrize("head", ["200 OK", "403 Forbidden"])
def test_an_endless_watch_event_is_aborted(
    opened: Open, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("LIMIT_BYTES", "LIMIT_LINE_BYTES"):
        monkeypatch.setattr(limits, limit, 2**20)
    cluster, _ = opened(endless(head, bytes(65536)))
    with raises(BrokenResponseError, match=r"127\.0\.0\.1"):
        next(cluster.watch(SECRETS, None, "1"))


def test_an_endless_401_does_not_prevent_a_new_plugin_token(opened: Open, plugin: Plugin) -> None:
    user = plugin({"token": "from-a-plugin"})
    cluster, server = opened(endless("401 Unauthorized", bytes(65536)), EMPTY, user=user)
    assert cluster.list(SECRETS) == []
    assert authorization(server) == ["Bearer from-a-plugin"] * 2


@given(lines=st.lists(st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.one_of(st.none(), st.integers(), st.sampled_from(["ERROR", "ADDED", "Status"])),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
            st.sampled_from(["type", "object", "code", "kind", "message"]), inner, max_size=4),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
), max_size=4))  # fmt: skip
def test_any_watch_line_is_an_event_or_a_daypass_error(lines: list[bytes]) -> None:
    def behave(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=b"\n".join(lines), request=request)

    access = ConnectionConfig(server="https://api.example.com", origin="x", namespace="team")
    cluster = Cluster(access, transport=httpx2.MockTransport(behave))
    try:
        for kind, document in cluster.watch(SECRETS, None, "1"):
            assert isinstance(kind, str)
            assert isinstance(document, dict)
    except DaypassError:
        pass
    finally:
        cluster.close()
