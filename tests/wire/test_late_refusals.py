"""A refusal follows the request's body, so that every client sees it; what is read is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daypass.config.settings import Limits
from daypass.render.envoy import door_listener, listener
from daypass.rules.reasons import REASON_HEADER, Reason
from support.deadline import eventually
from support.doors import (
    EKF,
    PATH,
    DoorEnv,
    assert_refused,
    http2,
    http2_fields,
    running_door_env,
)
from support.gates import RunningGate, running_gate
from support.h2c import Fields, Http2, Reply
from support.publishing import published
from support.raw import Conversation
from support.tokens import ACCOUNT_UID, Signer, good_claims

SIGNER = Signer("ours")
DENIED = "denied"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    folder = tmp_path_factory.mktemp("gate")
    with running_gate(folder, SIGNER.jwks, published=published(tokens={DENIED})) as running:
        yield running


def at(gate: RunningGate) -> Http2:
    return Http2(gate.port, authority_pem=gate.authority.pem, name=EKF)


def fields(*more: tuple[str, str], **claims: Any) -> Fields:
    begin = [(":method", "POST"), (":scheme", "https"), (":authority", EKF), (":path", "/x")]
    token = SIGNER.sign(good_claims(**claims))
    return [*begin, ("authorization", f"Bearer {token}"), *more]


def sent_in_two(client: Http2, block: Fields, body: bytes) -> Reply:
    """The reply to headers, then a body. Fails if the reply comes before the end, or is reset."""
    stream = client.send(block, end=False)
    assert client.settled(stream) == Reply()
    assert client.upload(stream, body) == len(body)
    client.wait(stream)
    reply = client.settled(stream)
    assert (reply.ended, reply.reset, client.closed) == (True, None, False)
    return reply


REFUSED: dict[str, tuple[dict[str, Any], int, Reason]] = {
    "expired": ({"exp": 1}, 401, Reason.EXPIRED),
    "of another issuer": ({"iss": "https://elsewhere"}, 401, Reason.FOREIGN_ISSUER),
    "for another audience": ({"aud": ["elsewhere"]}, 403, Reason.AUDIENCE),
    "of a user": ({"sub": "jane"}, 403, Reason.SUBJECT),
    "denied": ({"jti": DENIED}, 401, Reason.DENIED),
    "gone": (
        {"kubernetes.io": {"namespace": "team", "secret": {"uid": ACCOUNT_UID}}},
        401,
        Reason.UNKNOWN_CREDENTIAL,
    ),
}


@pytest.mark.parametrize("size", [56, MIB])
@pytest.mark.parametrize("case", REFUSED)
def test_the_gates_refusal_follows_the_body(gate: RunningGate, case: str, size: int) -> None:
    claims, code, reason = REFUSED[case]
    with at(gate) as client:
        for _ in range(3):
            reply = sent_in_two(client, fields(**claims), bytes(size))
            assert (reply.code, reply.headers[REASON_HEADER], reply.json["code"]) == (
                code, reason, code
            )  # fmt: skip


@pytest.mark.parametrize(
    ("block", "size", "code"),
    [
        (http2_fields(path=PATH + "x"), 56, 404),
        (http2_fields(method="PUT"), 56, 405),
        ([*http2_fields()[:4], ("content-type", "text/plain")], 56, 401),
        ([*http2_fields()[:5], ("content-type", "text/plain")], 8192, 415),
        (http2_fields(), 8193, 413),
        (http2_fields(("content-length", str(MIB))), MIB, 413),
        (http2_fields(path=PATH + "x"), MIB, 413),
    ],
)
def test_the_doors_refusal_follows_the_body(
    env: DoorEnv, block: Fields, size: int, code: int
) -> None:
    with http2(env) as client:
        for _ in range(3):
            assert_refused(sent_in_two(client, block, bytes(size)), code)


def test_beyond_the_rate_the_doors_429_follows_the_body(tmp_path: Path) -> None:
    rates = Limits(per_source_per_second=1, requests_per_second=1)
    with (
        running_door_env(tmp_path, change=lambda s: replace(s, rate_limits=rates)) as env,
        http2(env) as client,
    ):

        def is_limited(size: int) -> bool:
            client.request(http2_fields(), b"{}")
            reply = sent_in_two(client, http2_fields(), bytes(size))
            if reply.code == 429:
                assert_refused(reply, 429)
            return reply.code == 429

        for size in (56, 8193, MIB):
            eventually("it is limited, on a slow machine too", partial(is_limited, size))


def test_only_so_many_are_read_beyond_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_listener, "_LATE_PER_SECOND", 1)
    rates = Limits(per_source_per_second=1, requests_per_second=1)
    with (
        running_door_env(tmp_path, change=lambda s: replace(s, rate_limits=rates)) as env,
        http2(env) as client,
    ):

        def is_answered_at_once() -> bool:
            streams = [client.send(http2_fields(), b"{", end=False) for _ in range(10)]
            replies = [client.settled(stream) for stream in streams]
            for stream in streams:
                client.upload(stream, b"")
            return 429 in [reply.code for reply in replies]

        eventually("some of ten are", is_answered_at_once)


def test_over_http1_the_connection_goes_on_after_a_refused_body(gate: RunningGate) -> None:
    token = SIGNER.sign(good_claims(aud=["elsewhere"]))
    head = f"POST / HTTP/1.1\r\nHost: {EKF}\r\nAuthorization: Bearer {token}\r\n"
    whole = f"{head}Content-Length: {MIB}\r\n\r\n".encode() + bytes(MIB)
    chunks = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    chunks += b"10000\r\n" + bytes(0x10000) + b"\r\n0\r\n\r\n"
    with gate.connect() as connection:
        conversation = Conversation(connection)
        for request in (whole, chunks, whole):
            conversation.send(request)
            answer = conversation.answer()
            assert (answer.code, answer.closes) == (403, False)


def test_an_announced_length_beyond_the_bound_is_refused_at_once(gate: RunningGate) -> None:
    with at(gate) as client:
        block = fields(("content-length", "1000000000"), aud=["elsewhere"])
        reply = client.settled(client.send(block, end=False))
        assert (reply.code, reply.headers[REASON_HEADER]) == (403, Reason.AUDIENCE)


def test_a_body_without_a_length_is_read_up_to_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_BYTES", MIB)
    with running_gate(tmp_path, SIGNER.jwks) as gate, at(gate) as client:
        stream = client.send(fields(aud=["elsewhere"]), end=False)
        sent = client.upload(stream, bytes(64 * MIB))
        reply = client.wait(stream)
        assert (reply.code, reply.headers[REASON_HEADER]) == (403, Reason.AUDIENCE)
        assert MIB <= sent < 40 * MIB  # the rest is what the window lets through


def test_a_body_is_read_for_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_SECONDS", 0)
    with running_gate(tmp_path, SIGNER.jwks) as gate, at(gate) as client:
        stream = client.send(fields(aud=["elsewhere"]), end=False)

        def is_refused() -> bool:
            if not client.settled(stream).ended:
                client.upload(stream, b"xx", end=False)
            return client.settled(stream).code == 403

        eventually("it is refused before it ends", is_refused)
        assert client.settled(stream).headers[REASON_HEADER] == Reason.AUDIENCE


def test_a_bounded_number_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_AT_A_TIME", 2)
    block = fields(aud=["elsewhere"])
    with running_gate(tmp_path, SIGNER.jwks) as gate, at(gate) as client:
        held = [client.send(block, b"xx", end=False) for _ in range(2)]
        reply = client.settled(client.send(block, b"xx", end=False))
        assert (reply.code, reply.headers[REASON_HEADER]) == (403, Reason.AUDIENCE)
        assert [client.settled(stream).code for stream in held] == [0, 0]
        client.upload(held[0], b"x")
        assert client.wait(held[0]).code == 403
        assert client.settled(client.send(block, b"xx", end=False)) == Reply()


def test_those_that_a_client_breaks_off_count_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_AT_A_TIME", 2)
    block = fields(aud=["elsewhere"])
    with running_gate(tmp_path, SIGNER.jwks) as gate, at(gate) as client:
        for _ in range(2):
            with at(gate) as other:
                assert other.settled(other.send(block, b"xx", end=False)) == Reply()

        def is_read() -> bool:
            stream = client.send(block, b"xx", end=False)
            return client.settled(stream) == Reply()

        eventually("the next is read", is_read)


def test_what_is_refused_occupies_no_memory(gate: RunningGate) -> None:
    def memory() -> int:
        return int(gate.envoy.stats("^server.memory_allocated$")["server.memory_allocated"])

    with at(gate) as client:
        client.settled(client.send(fields(aud=["elsewhere"])))
        before = memory()
        stream = client.send(fields(aud=["elsewhere"]), end=False)
        client.upload(stream, bytes(32 * MIB), end=False)
        assert client.settled(stream) == Reply()
        assert memory() - before < 8 * MIB


@pytest.mark.parametrize("media_type", ["application/grpc", "application/grpc+proto"])
def test_a_stream_that_waits_for_the_answer_gets_it_at_once(
    gate: RunningGate, media_type: str
) -> None:
    with at(gate) as client:
        block = fields(("content-type", media_type), ("te", "trailers"), aud=["elsewhere"])
        reply = client.settled(client.send(block, b"x", end=False))
        assert (reply.ended, reply.headers["grpc-status"]) == (True, "7")
