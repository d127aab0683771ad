"""`check: review` on a real Envoy, before an API server that is down, slow or tired."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass.config.gate import DEFAULT_GATE
from daypass.gate.authorizer.http_server import HttpConnection, HttpTransport
from daypass.gate.authorizer.questions import FairQueue
from daypass.render.names import gate_prefix
from daypass.rules.reasons import REASON_HEADER, Reason
from support.deadline import eventually
from support.doors import EKF
from support.fake_reviews import fake_reviews
from support.gate_differences import assert_passed_as, reason_in, seen
from support.publishing import published
from support.raw import Answer, Caller, Conversation
from support.tokens import USER, Signer, good_claims
from wire.authorizers import ReviewedGate, reviewed_gate
from wire.bad_reviews import assert_no_review_opens

SIGNER = Signer("ours")
bearer = SIGNER.bearer


@pytest.fixture(scope="module")
def calm(tmp_path_factory: Any) -> Iterator[ReviewedGate]:
    """One that tests share, since they leave it as it was."""
    yield from _running(tmp_path_factory)


@pytest.fixture
def gate(tmp_path_factory: Any) -> Iterator[ReviewedGate]:
    """One of a test's own."""
    yield from _running(tmp_path_factory)


def _running(tmp_path_factory: Any) -> Iterator[ReviewedGate]:
    folder: Path = tmp_path_factory.mktemp("g")
    with (
        fake_reviews(lambda token: True) as reviews,
        reviewed_gate(folder, SIGNER, reviews) as running,
    ):
        yield running


def unavailable(answer: Answer) -> int:
    """The seconds after which to come back, of an answer that nobody knows."""
    assert answer.code == 503, answer
    assert answer.headers["content-type"] == "application/json"
    status = json.loads(answer.body)
    assert (status["kind"], status["reason"]) == ("Status", "ServiceUnavailable")
    assert reason_in(answer) is Reason.UNKNOWN
    assert answer.headers.get("daypass-reason", Reason.UNKNOWN) == Reason.UNKNOWN
    return int(answer.headers["retry-after"])


def test_while_the_api_server_is_down_what_is_remembered_passes_and_nothing_else(
    gate: ReviewedGate,
) -> None:
    line = bearer()
    assert gate.gate.send([line]).code == 200
    gate.reviews.down()
    assert gate.gate.send([line]).code == 200
    assert unavailable(gate.gate.send([bearer(jti="j-2")])) >= 1
    gate.reviews.up()
    eventually("it is asked again", lambda: gate.gate.send([bearer(jti="j-2")]).code == 200)
    assert {"api-server-unreachable", "api-server-reached"} <= {e["event"] for e in gate.events}


def test_no_review_that_lies_fails_or_hangs_lets_a_token_pass(gate: ReviewedGate) -> None:
    gate.authorizer._service.authorizer.tokens.queue = FairQueue()  # with the limit of every gate
    numbers = itertools.count()
    assert_no_review_opens(gate.reviews, lambda: gate.gate.send([bearer(jti=f"j-{next(numbers)}")]))


def test_a_slow_api_server_delays_no_request_and_its_late_answer_is_used(
    gate: ReviewedGate,
) -> None:
    gate.authorizer._service.authorizer.tokens.queue = FairQueue()  # with the limit of every gate
    gate.reviews.held.clear()
    line = bearer()
    unavailable(gate.gate.send([line]))
    gate.reviews.held.set()
    eventually("the answer has come", lambda: gate.gate.send([line]).code == 200)
    assert gate.reviews.asked == [line.rpartition(" ")[2]]


def test_retry_after_of_the_api_server_is_passed_on_and_obeyed(gate: ReviewedGate) -> None:
    gate.reviews.failing = (429, "20")
    began = SYSTEM_CLOCK.monotonic()
    assert unavailable(gate.gate.send([bearer()])) == 20
    gate.reviews.failing = None
    asked = len(gate.reviews.asked)
    left = unavailable(gate.gate.send([bearer(jti="j-2")]))
    assert 20 - (SYSTEM_CLOCK.monotonic() - began) <= left <= 20
    assert len(gate.reviews.asked) == asked


def test_a_credential_that_is_gone_is_refused_on_an_open_connection(gate: ReviewedGate) -> None:
    token = Secret(SIGNER.sign(good_claims()))
    with gate.gate.connect() as connection:
        caller = Caller(Conversation(connection), EKF, token)
        assert caller.ask().code == 200
        gate.authorizer.take_published(published())
        assert caller.ask().code == 200
        gate.authorizer.take_published(published([]))
        refused = caller.becomes(401)
        assert reason_in(refused) is Reason.UNKNOWN_CREDENTIAL
        assert refused.headers["daypass-reason"] == Reason.UNKNOWN_CREDENTIAL
        assert len(gate.reviews.asked) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["x-envoy-external-address: 203.0.113.9"],
        ["x-envoy-auth-headers-to-remove: kubeflow-userid"],
        ["x-envoy-auth-partial-body: true"],
        ["x-forwarded-for: 203.0.113.9", "x-envoy-internal: true"],
        ["x-envoy-original-path: /x", "x-envoy-decorator-operation: x"],
    ],
)
def test_client_headers_do_not_reach_the_authorizer(calm: ReviewedGate, lines: list[str]) -> None:
    assert calm.gate.send(lines).code == 401
    answer = calm.gate.send([bearer(), *lines])
    assert_passed_as(answer, USER)
    assert REASON_HEADER not in seen(answer)


def sent_to(gate: ReviewedGate, content: bytes) -> bytes:
    """What the authorizer itself answers to these bytes, until it closes or a second is over."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(gate.authorizer.path))
        received = b""
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                received += more
        except (ConnectionError, TimeoutError):
            pass
        return received


GOOD_HEAD = f"GET {gate_prefix(DEFAULT_GATE)}/ HTTP/1.1\r\nHost: {EKF}\r\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (f"{GOOD_HEAD}Host: other\r\n\r\n".encode(), b"400"),
        (f"{GOOD_HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".encode(), b"400"),
        (f"{GOOD_HEAD}Authorization : Bearer x\r\n\r\n".encode(), b"400"),
        (f"{GOOD_HEAD}Authorization: Bearer x\r\n y\r\n\r\n".encode(), b"40"),
        (f"{GOOD_HEAD}x: {'y' * 200_000}\r\n\r\n".encode(), b""),
    ],
)
def test_what_is_no_request_is_not_answered_as_one(
    calm: ReviewedGate, content: bytes, code: bytes
) -> None:
    received = sent_to(calm, content)
    assert received[9:].startswith(code), received[:80]
    assert b" 200 " not in received
    assert calm.gate.send([bearer()]).code == 200


def test_answers_keep_the_order_of_questions_on_one_connection(calm: ReviewedGate) -> None:
    line = bearer()
    assert calm.gate.send([line]).code == 200
    good = f"{GOOD_HEAD}{line}\r\n\r\n".encode()
    bad = f"{GOOD_HEAD}\r\n".encode()
    received = sent_to(calm, good + bad + good)
    codes = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert codes == [b"200", b"401", b"200"]


def test_a_question_behind_one_that_waits_is_never_answered_in_its_place(
    gate: ReviewedGate,
) -> None:
    line = bearer()
    assert gate.gate.send([line]).code == 200
    gate.reviews.held.clear()
    unseen = f"{GOOD_HEAD}{bearer(jti='j-2')}\r\n\r\n".encode()
    received = sent_to(gate, unseen + f"{GOOD_HEAD}{line}\r\n\r\n".encode())
    assert b" 200 " not in received


def test_what_no_key_has_signed_is_refused_whatever_the_api_server_says(
    calm: ReviewedGate,
) -> None:
    line = f"Authorization: Bearer {Signer('new').sign(good_claims())}"
    assert calm.gate.send([line]).code == 401


def test_a_request_that_never_ends_is_ended(
    calm: ReviewedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = HttpConnection(calm.authorizer._service.http)
    closed: list[bool] = []
    monkeypatch.setattr(connection, "abort", lambda: closed.append(True))
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n")
    connection.close_if_stalled()
    connection.data_received(b"a: b\r\n")
    assert closed == []
    connection.close_if_stalled()
    assert closed == [True]


def test_a_connection_that_comes_after_the_others_were_closed_is_closed(
    calm: ReviewedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HttpTransport(calm.authorizer._service.authorizer)
    server.close()
    connection = HttpConnection(server)
    closed: list[bool] = []
    monkeypatch.setattr(connection, "abort", lambda: closed.append(True))
    connection.connection_made(asyncio.Transport())
    assert closed == [True]
