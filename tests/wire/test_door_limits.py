"""Rates, slow clients and many connections: one client's greed is not paid for by the others."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.config.settings import Limits
from daypass.render.envoy.settings import DoorSettings, Timeouts
from support.deadline import eventually
from support.doors import (
    BODY,
    DoorEnv,
    assert_refused,
    http2,
    http2_fields,
    post,
    running_door_env,
)
from support.raw import Conversation


def limited(
    per_source: int, together: int, *, hops: int = 0
) -> Callable[[DoorSettings], DoorSettings]:
    rates = Limits(per_source_per_second=per_source, requests_per_second=together)
    return lambda settings: replace(settings, rate_limits=rates, trusted_hops=hops)


def test_a_source_gets_its_rate_and_then_429_until_it_has_waited(tmp_path: Path) -> None:
    with running_door_env(tmp_path, change=limited(5, 1000)) as env:
        started = SYSTEM_CLOCK.monotonic()
        answers = env.send_each([post()] * 40)
        refilled = int((SYSTEM_CLOCK.monotonic() - started) * 5) + 1
        codes = [answer.code for answer in answers]
        assert codes[:5] == [201] * 5
        assert set(codes[5:]) <= {201, 429}
        assert 5 <= codes.count(201) <= 5 + refilled
        for answer in answers:
            if answer.code != 201:
                assert_refused(answer, 429)
        assert [recorded.faults() for recorded in env.recorder.take()] == ([[]] * codes.count(201))
        eventually("it is served again", lambda: env.door.send(post()).code == 201)


@pytest.mark.parametrize(
    "request_",
    [post(host="evil.example.com"), post("/nothing"), post(headers=()), post(method="PUT")],
)
def test_every_request_counts_whatever_its_answer_would_be(tmp_path: Path, request_: bytes) -> None:
    """What is no HTTP counts as none, and costs its sender the connection."""
    with running_door_env(tmp_path, change=limited(3, 1000)) as env:

        def is_refused_after_twenty() -> bool:
            env.send_each([request_] * 20)
            answer = env.door.send(post())
            if answer.code == 201:  # so slow a machine that the rate has been granted anew
                return False
            assert_refused(answer, 429)
            return True

        eventually("the rate is used up", is_refused_after_twenty)


def test_sources_do_not_pay_for_one_another(tmp_path: Path) -> None:
    """The greedy source's refused requests take nothing out of what all share."""
    with running_door_env(tmp_path, change=limited(5, 100, hops=1)) as env:
        greedy = post(extra=("X-Forwarded-For: 203.0.113.1",))
        assert 429 in {answer.code for answer in env.send_each([greedy] * 300)}
        others = [post(extra=(f"X-Forwarded-For: 203.0.113.{i}",)) for i in range(2, 42)]
        assert {answer.code for answer in env.send_each(others)} == {201}


def test_all_sources_together_have_a_rate_too(tmp_path: Path) -> None:
    with running_door_env(tmp_path, change=limited(5, 10, hops=1)) as env:
        sources = [post(extra=(f"X-Forwarded-For: 203.0.113.{i}",)) for i in range(250)]
        started = SYSTEM_CLOCK.monotonic()
        answers = env.send_each(sources)
        refilled = int((SYSTEM_CLOCK.monotonic() - started) * 10) + 1
        passed = [answer.code for answer in answers].count(201)
        assert 10 <= passed <= 10 + refilled
        assert_refused(next(answer for answer in answers if answer.code != 201), 429)


def test_addresses_of_one_ipv6_network_are_one_source(tmp_path: Path) -> None:
    """A /64 is what one customer has."""
    with running_door_env(tmp_path, change=limited(3, 1000, hops=1)) as env:
        near = [post(extra=(f"X-Forwarded-For: 2001:db8::{i:x}",)) for i in range(1, 30)]
        far = [post(extra=(f"X-Forwarded-For: 2001:db8:0:{i:x}::1",)) for i in range(1, 30)]
        assert 429 in {answer.code for answer in env.send_each(near)}
        assert {answer.code for answer in env.send_each(far)} == {201}


def test_a_forged_address_is_no_other_source(tmp_path: Path) -> None:
    with running_door_env(tmp_path, change=limited(3, 1000)) as env:
        forged = [post(extra=(f"X-Forwarded-For: 203.0.113.{i}",)) for i in range(40)]
        assert 429 in {answer.code for answer in env.send_each(forged)}


SHORT = Timeouts(
    handshake_seconds=0.3,
    request_headers_seconds=0.3,
    request_seconds=0.6,
    idle_seconds=0.5,
    close_seconds=0.05,
)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorEnv]:
    """A door that waits a fraction of a second where it usually waits some."""
    with running_door_env(
        tmp_path_factory.mktemp("impatient"),
        change=lambda settings: replace(settings, timeouts=SHORT),
    ) as env:
        yield env


def drip(connection: socket.socket, data: bytes) -> bytes:
    """Send a byte whenever nothing has come for 50 ms, until something comes; what came."""
    connection.settimeout(0.05)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            return connection.recv(65536)
        except TimeoutError:
            continue
        except (ConnectionError, ssl.SSLError):
            return b""
    raise AssertionError("the door took every byte, however slowly")


def parts(request: bytes) -> tuple[bytes, bytes]:
    """The header block and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


CHUNKED = post(body=b"1\r\nx\r\n" * 50, extra=("Transfer-Encoding: chunked",))
IN_DROPS = {
    "headers": (b"", post()),
    "a body": parts(post(body=BODY * 10)),
    "a body for no published path": parts(post("/nothing", body=BODY * 10)),
    "chunks": parts(re.sub(rb"Content-Length: \d+\r\n", b"", CHUNKED)),
}
"""What is sent at once, and what is sent in drops."""


def test_a_connection_without_a_handshake_ends(impatient: DoorEnv) -> None:
    with socket.create_connection(("127.0.0.1", impatient.door.port), timeout=60) as plain:
        assert plain.recv(1) == b""


def test_a_handshake_in_drops_ends(impatient: DoorEnv) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500
    with socket.create_connection(("127.0.0.1", impatient.door.port), timeout=60) as plain:
        assert b"HTTP" not in drip(plain, hello)


def test_a_connection_without_a_request_ends(impatient: DoorEnv) -> None:
    with impatient.door.connect() as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize("sent", [b"P", b"POST ", post()[:50]])
def test_half_of_the_headers_is_answered_408(impatient: DoorEnv, sent: bytes) -> None:
    answer = impatient.send(sent).answer
    assert_refused(answer, 408)
    assert answer.closes


def test_half_of_a_body_is_answered_408(impatient: DoorEnv) -> None:
    impatient.assert_refuses(post()[:-1], 408)


@pytest.mark.parametrize("what", IN_DROPS)
def test_a_request_in_drops_is_answered_408(impatient: DoorEnv, what: str) -> None:
    at_once, dripped = IN_DROPS[what]
    with impatient.door.connect() as connection:
        connection.sendall(at_once)
        assert drip(connection, dripped).startswith(b"HTTP/1.1 408 ")
    assert impatient.arrived() == ()


def test_a_stream_that_never_ends_is_ended(impatient: DoorEnv) -> None:
    with http2(impatient) as client:
        reply = client.wait(client.send(http2_fields(), b"{", end=False))
        assert reply.code == 408
    assert impatient.arrived() == ()


def test_a_client_in_time_is_served_as_ever(impatient: DoorEnv) -> None:
    assert len(impatient.send(post()).arrived) == 1


def test_connections_beyond_the_limit_are_closed_and_others_go_on(tmp_path: Path) -> None:
    with running_door_env(tmp_path, change=lambda s: replace(s, connections=3)) as env:
        held = [env.door.connect() for _ in range(3)]
        with pytest.raises(OSError, match=r"EOF|reset"):
            env.door.connect()
        conversation = Conversation(held[0])
        conversation.send(post())
        assert conversation.answer().code == 201
        held.pop().close()
        eventually("there is room again", lambda: env.door.send(post()).code == 201)
        for connection in held:
            connection.close()


def test_a_connection_serves_a_bounded_number_of_requests_and_says_so(env: DoorEnv) -> None:
    answers = env.send_each([post("/nothing", method="GET", body=b"")] * 10_001)
    assert [i for i, answer in enumerate(answers, 1) if answer.closes] == [10_000]
