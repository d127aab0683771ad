"""What a gate with a longest stream does with one that lasts longer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import h2.errors
import pytest

from daypass._core.clock import SYSTEM_CLOCK
from support.doors import EKF
from support.endless import EVENT, UPGRADE, Endless
from support.gates import RunningGate, running_gate, service_at
from support.h2c import Http2
from support.raw import Conversation, get
from support.tokens import Signer

SIGNER = Signer("ours")
bearer = SIGNER.bearer
BOUND_SECONDS = 1


@pytest.fixture(scope="module")
def service() -> Iterator[Endless]:
    with Endless() as running:
        yield running


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, service: Endless) -> Iterator[RunningGate]:
    with running_gate(
        tmp_path_factory.mktemp("gate"), SIGNER.jwks,
        protected=service_at(service.port),
        max_stream_duration_seconds=BOUND_SECONDS,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def begun() -> float:
    return SYSTEM_CLOCK.monotonic()


def to_its_end(connection: ssl.SSLSocket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def assert_cut(service: Endless, begun: float) -> None:
    """That a stream has ended at its bound, for the service, too."""
    assert BOUND_SECONDS <= SYSTEM_CLOCK.monotonic() - begun < 20
    assert service.ended.acquire(timeout=20)


def test_a_response_is_cut_and_does_not_look_complete(
    gate: RunningGate, service: Endless, begun: float
) -> None:
    with gate.connect() as connection:
        connection.sendall(get(bearer(), host=EKF, path="/events"))
        received = to_its_end(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert EVENT in received
    assert not received.endswith(b"0\r\n\r\n")
    assert_cut(service, begun)


def test_a_websocket_is_cut(gate: RunningGate, service: Endless, begun: float) -> None:
    with gate.connect() as connection:
        connection.sendall(get(bearer(), *UPGRADE, host=EKF, path="/ws"))
        assert to_its_end(connection).startswith(b"HTTP/1.1 101 ")
    assert_cut(service, begun)


def test_over_http2_the_stream_is_reset_and_its_connection_goes_on(
    gate: RunningGate, service: Endless, begun: float
) -> None:
    name, _, value = bearer().partition(": ")
    fields = [
        (":method", "GET"), (":scheme", "https"), (":authority", EKF), (":path", "/events"),
        (name.lower(), value),
    ]  # fmt: skip
    with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
        reply = client.request(fields)
        assert (reply.code, reply.body) == (200, EVENT)
        assert reply.reset == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert not client.closed
        assert client.request(fields[:-1]).code == 401
    assert_cut(service, begun)


def test_what_has_no_response_yet_gets_a_504(
    gate: RunningGate, service: Endless, begun: float
) -> None:
    with gate.connect() as connection:
        conversation = Conversation(connection)
        conversation.send(get(bearer(), host=EKF, path="/silent"))
        answer = conversation.answer()
    assert (answer.code, answer.json["reason"]) == (504, "Timeout")
    assert_cut(service, begun)
