"""Something else than an authorizer responds at its address: nothing passes, nothing leaks."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from daypass.render.envoy.authorizer_filters import TIMEOUT_SECONDS
from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.doors import EKF
from support.gate_differences import reason_in
from support.gates import RunningGate, running_gate, service_at
from support.impostors import EVIL, NAMED, ODD_USERS, Behaviour, HeadServer, Impostor, response
from support.raw import Answer, Conversation, get
from support.recorder import Recorded
from support.tokens import USER, Signer, good_claims
from support.unlimited_reviews import unlimited_reviews
from wire.authorizers import ask_at

SIGNER = Signer("ours")


def endless(head: bytes, piece: bytes, connection: socket.socket) -> None:
    connection.sendall(head)
    while True:
        connection.sendall(piece)


def slowly(head: bytes, connection: socket.socket) -> None:
    for each in head:
        connection.sendall(bytes([each]))
        select.select([connection], [], [], 0.05)  # slowness is the attack; its end ends it


OK = b"HTTP/1.1 200 OK\r\n"
PASSING: dict[str, Behaviour] = {
    "of an authorizer": response(NAMED),
    "other headers": response(NAMED + EVIL),
    "hop-by-hop headers": response(
        NAMED + b"upgrade: h2c\r\nconnection: upgrade, kubeflow-userid\r\nte: trailers\r\n"
    ),
    "twice": response(NAMED) * 2,
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + response(NAMED),
    "after a 103": b"HTTP/1.1 103 X\r\nkubeflow-userid: evil\r\n\r\n" + response(NAMED),
    "another user before": response(b"kubeflow-userid: evil\r\n" + NAMED),
    "with a body": response(NAMED, body=b"evil" * 1_000_000),
    "with 90 headers": response(NAMED + b"".join(b"x-%d: evil\r\n" % n for n in range(90))),
}
CODES = (
    "101", "201", "204", "206", "299", "300", "302", "307", "400", "401", "403", "404", "408",
    "429", "500", "503", "600", "999", "1000", "000", "099", "20", "-200", "200.0", "abc", "",
)  # fmt: skip
FAILING: dict[str, Behaviour] = {
    **{f"{name} user": response(each) for name, each in ODD_USERS.items()},
    **{
        f"code {code}": response(NAMED + EVIL, code=code.encode(), body=b"<script>evil</script>")
        for code in CODES
    },
    "a pseudo-header": response(NAMED + b":path: /evil\r\n"),
    "5,000 headers": response(NAMED + b"".join(b"x-%d: evil\r\n" % n for n in range(5000))),
    "a length and chunks": OK + NAMED
    + b"content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + NAMED + b"content-length: 0\r\ncontent-length: 5\r\n\r\n",
    "broken chunks": OK + NAMED + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/0.9": b"evil",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x28",
    "a short refusal before a pass": response(b"", code=b"401")[:-2] + b"x" + response(NAMED),
    "a refusal and a pass": response(b"", code=b"401") + response(NAMED),
    "a refusal in 3 MB": response(b"", code=b"403", body=b"evil" * 750_000),
    "the end": lambda connection: connection.close(),
    "an endless head": partial(endless, OK + NAMED, b"x-evil: evil\r\n"),
    "an endless body": partial(
        endless, OK + NAMED + b"content-length: 99999999999\r\n\r\n", b"evil" * 16_384
    ),
}  # fmt: skip
UNENDING: dict[str, Behaviour] = {
    "half of a head": lambda connection: connection.sendall(OK + NAMED),
    "endless 100s": partial(endless, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a body until the end": OK + NAMED + b"\r\n",
    "a slow head": partial(slowly, response(NAMED)),
}
"""What only Envoy's limit ends."""


class Service(HeadServer):
    """What the gate protects; it keeps what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: list[Recorded] = []

    def respond(self, connection: socket.socket, head: bytes) -> None:
        self.arrived.append(Recorded(raw=head + b"\r\n\r\n"))
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    gate: RunningGate
    impostor: Impostor
    service: Service

    def ask(self, behaviour: Behaviour) -> Answer:
        """What a client with a good token gets."""
        self.impostor.behaviour = behaviour
        self.service.arrived.clear()
        line = f"Authorization: Bearer {SIGNER.sign(good_claims())}"
        with self.gate.connect() as connection:
            conversation = Conversation(connection)
            conversation.send(get(line, "kubeflow-userid: forged", "cookie: mine", host=EKF))
            return conversation.answer()


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Env]:
    """One that waits for each response, however busy the machine is."""
    with running_env(tmp_path_factory.mktemp("gate"), seconds=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Env]:
    folder = tmp_path_factory.mktemp("gate")
    with running_env(folder, seconds=TIMEOUT_SECONDS) as running:
        yield running


@contextmanager
def running_env(folder: Path, *, seconds: float) -> Iterator[Env]:
    """`seconds`: how long Envoy waits for a response; 0: without a limit."""
    with (
        Impostor() as impostor,
        Service() as service,
        unlimited_reviews(envoy_seconds=seconds),
        running_gate(
            folder, SIGNER.jwks, check="review", change=partial(ask_at, port=impostor.port),
            protected=service_at(service.port),
        ) as gate,
    ):  # fmt: skip
        yield Env(gate=gate, impostor=impostor, service=service)


@pytest.mark.parametrize("name", PASSING)
def test_of_an_authorizer_s_response_only_the_user_passes(env: Env, name: str) -> None:
    answer = env.ask(PASSING[name])
    assert (answer.code, answer.body) == (200, b"ok")
    assert "evil" not in repr(answer)
    (arrived,) = env.service.arrived
    assert arrived.header("kubeflow-userid") == USER
    assert arrived.header("host") == EKF
    assert arrived.header("cookie") == "mine"
    assert arrived.header("x-forwarded-for") == "127.0.0.1"
    assert b"evil" not in arrived.raw
    assert b"forged" not in arrived.raw
    assert arrived.header("connection") is None


@pytest.mark.parametrize("name", FAILING)
def test_any_other_response_is_none(env: Env, name: str) -> None:
    assert_is_none(env, FAILING[name])
    assert asked_anew(env) == 401


@pytest.mark.parametrize("name", UNENDING)
def test_a_response_that_does_not_end_in_time_is_none(limited: Env, name: str) -> None:
    assert_is_none(limited, UNENDING[name])

    def in_time() -> int | None:
        code = asked_anew(limited)
        return None if code == 503 else code

    assert eventually("a response in time", in_time) == 401


def assert_is_none(env: Env, behaviour: Behaviour) -> None:
    answer = env.ask(behaviour)
    assert reason_in(answer) is Reason.UNKNOWN
    assert (answer.code, answer.headers["content-type"]) == (503, "application/json")
    assert not answer.cookies
    assert b"evil" not in answer.body
    assert "x-evil" not in answer.headers
    assert env.service.arrived == []


def asked_anew(env: Env) -> int:
    """The code of a refusal: what is left over on a connection decides about no other request."""
    env.impostor.behaviour = response(b"daypass-reason: expired\r\n", code=b"401", body=b"{}")
    code = env.gate.send(["Authorization: Bearer x.y.z"]).code
    assert env.service.arrived == []
    return code
