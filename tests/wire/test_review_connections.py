"""The way to the API server, where that answers as no API server does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass.gate.authorizer import api_server
from daypass.gate.authorizer.api_server import LIMIT_BYTES, ApiServerClient, NoAnswerError
from daypass.kube.connection import ConnectionConfig
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import TokenReview
from daypass.rules.models import Access
from daypass.rules.patterns import Model
from support.authority import ANY_AUTHORITY
from support.messages import check

T = TypeVar("T")
Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b'{"status":{"authenticated":true,"user":{"username":"u"},"audiences":["a"]}}'


def answered(body: bytes, code: str = "201 Created", more: str = "") -> bytes:
    return f"HTTP/1.1 {code}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def saying(*answers: bytes) -> Serve:
    """Says these on each connection, one after another, and closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return serve


async def result_of(asked: Awaitable[T]) -> T | NoAnswerError:
    try:
        return await asked
    except NoAnswerError as failure:
        return failure


async def review(client: ApiServerClient) -> TokenReview | NoAnswerError:
    return await result_of(client.review_token("x.y.z", "a"))


def asked(
    serve: Serve,
    *,
    ask: Callable[[ApiServerClient], Awaitable[Any]] = review,
    times: int = 1,
    scheme: str = "http",
) -> list[Any]:
    """What comes of asking so many times, one after another."""

    async def run() -> list[Any]:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        access = ConnectionConfig(
            server=url, namespace="x", origin="a test", token=Secret("asker"),
            authority=ANY_AUTHORITY,
        )  # fmt: skip
        client = ApiServerClient(access, SYSTEM_CLOCK)
        try:
            return [await ask(client) for _ in range(times)]
        finally:
            client.close()
            server.close()

    return asyncio.run(run())


def test_a_good_answer_is_accepted_and_its_connection_reused() -> None:
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await saying(*[answered(GOOD)] * 3)(reader, writer)

    found = asked(serve, times=3)
    assert found == [TokenReview(authenticated=True, user="u", audiences=("a",))] * 3
    assert len(connections) == 1


ALICE = CallerIdentity(user="alice", groups=("g", "h"))
IRIS = Access("get", Model("inferenceservices.serving.kserve.io", "team", "iris"))


def test_tokens_and_accesses_are_reviewed_on_one_connection() -> None:
    requests: list[bytes] = []
    allowed = answered(b'{"status":{"allowed":true}}')

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (answered(GOOD), allowed):
            requests.append(await read_request(reader))
            writer.write(answer)
        assert await reader.read() == b""

    async def ask(client: ApiServerClient) -> list[TokenReview | bool | NoAnswerError]:
        return [await review(client), await result_of(client.review_access(ALICE, IRIS))]

    (found,) = asked(serve, ask=ask)
    assert found == [TokenReview(authenticated=True, user="u", audiences=("a",)), True]
    assert [each.split(b"\r\n")[0] for each in requests] == [
        b"POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1",
        b"POST /apis/authorization.k8s.io/v1/subjectaccessreviews HTTP/1.1",
    ]
    assert all(b"authorization: Bearer asker" in each for each in requests)


def test_a_closed_connection_is_replaced() -> None:
    assert all(isinstance(each, TokenReview) for each in asked(saying(answered(GOOD)), times=4))


def test_refused_credentials_are_read_again_once() -> None:
    found = asked(saying(answered(b"{}", "401 Unauthorized"), answered(GOOD)))
    assert found == [TokenReview(authenticated=True, user="u", audiences=("a",))]
    (refused,) = asked(saying(*[answered(b"{}", "401 Unauthorized")] * 2))
    assert isinstance(refused, NoAnswerError)
    assert "system:auth-delegator" in refused.why


BAD_ANSWERS = [
    b"",
    b"\x16\x03\x01\x02\x00",
    b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\n{",
    b"HTTP/1.1 201 Created\r\ncontent-length: -1\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    answered(b"not json"),
    answered(b"[" * 100_000),
    answered(GOOD, "302 Found", "location: http://127.0.0.1:1/\r\n"),
    answered(GOOD, "200 OK").replace(b"true", b"1"),
    b"HTTP/1.1 201 Created\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
    answered(b" " * (LIMIT_BYTES + 1) + GOOD),
    b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000,
]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_an_invalid_review_answer_authenticates_no_one_and_allows_nothing(answer: bytes) -> None:
    (said,) = asked(saying(answer))
    assert isinstance(said, NoAnswerError) or not said.authenticated
    (said,) = asked(saying(answer), ask=lambda it: result_of(it.review_access(ALICE, IRIS)))
    assert isinstance(said, NoAnswerError)


def test_a_review_without_an_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "ANSWER_SECONDS", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 201 Created\r\n")
        await reader.read()

    (said,) = asked(silent)
    assert isinstance(said, NoAnswerError)
    assert said.about_request, "others may have their answer"
    check(said.why, reason="unanswered")


def test_an_api_server_that_takes_no_connection_fails_for_every_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api_server, "CONNECT_SECONDS", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    (said,) = asked(silent, scheme="https")  # the handshake gets no answer
    assert isinstance(said, NoAnswerError)
    assert not said.about_request
    check(said.why, reason="unreachable")
