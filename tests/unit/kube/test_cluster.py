"""Requests to an API server: retries, limits, and what their errors say."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from daypass._core.errors import DaypassError
from daypass.kube import answers as limits
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
from unit.kube.conftest import (
    EMPTY,
    OBJECT,
    Open,
    list_async,
    watch_async,
)


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


QUOTED = f"Bearer {long_lived_token()}, {long_lived_token()[60:]}"


@pytest.mark.parametrize(
    "raw",
    [
        status_answer(403, QUOTED),
        answer(502, QUOTED),
        answer(200, QUOTED),
        f"HTTP/1.1 {QUOTED}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n{QUOTED}\r\n\r\n".encode(),
    ],
    ids=["403", "502", "200", "status line", "header"],
)
def test_no_error_quotes_a_part_of_the_token_that_was_sent(opened: Open, raw: bytes) -> None:
    token = long_lived_token()
    cluster, _ = opened(raw, user={"token": token})
    for ask in (cluster.list, partial(list_async, cluster), partial(watch_async, cluster)):
        with pytest.raises(DaypassError) as raised:
            ask(SECRETS)
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
        (endless("503 Busy\r\nRetry-After: 1", bytes(65536)), "LIMIT_BYTES", 2**20),
        (BOMB_HEAD.encode() + BOMB, "LIMIT_BYTES", 2**20),
        (endless("200 OK", b" "), "LIMIT_SECONDS", 0.2),
    ],
    ids=["503", "gzip bomb", "slow"],
)
def test_an_endless_answer_is_aborted(
    opened: Open, answers: bytes | Behaviour, limit: str, value: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(limits, limit, value)
    cluster, _ = opened(answers)
    for ask in (cluster.list, partial(list_async, cluster)):
        with raises(BrokenResponseError, match=r"127\.0\.0\.1"):
            ask(SECRETS)


def test_an_answer_of_many_small_values_is_refused(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory they take many times what they take on the wire."""
    monkeypatch.setattr(limits, "LIMIT_VALUES", 100)
    cluster, _ = opened(answer(200, f'{{"items": [{",".join(["[]"] * 100)}]}}'))
    with pytest.raises(BrokenResponseError, match="100 values"):
        cluster.list(SECRETS)


def test_a_list_whose_pages_do_not_end_is_aborted(opened: Open) -> None:
    again = answer(200, json.dumps({"items": [], "metadata": {"continue": "a"}}))
    cluster, server = opened(again)
    with raises(BrokenResponseError, match="secrets"):
        cluster.list(SECRETS)
    assert len(server.requests) == 2
