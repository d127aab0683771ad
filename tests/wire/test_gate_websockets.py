"""WebSockets through the gate of one machine: each is checked, and what is none is no tunnel."""

from __future__ import annotations

import base64
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from email.message import Message
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pytest

from daypass.render.envoy.upstream import MOST_CONNECTIONS, MOST_WEB_SOCKETS, WEB_SOCKETS
from daypass.rules.reasons import REASON_HEADER, Reason
from support.deadline import eventually
from support.doors import EKF, access_log
from support.endless import SWITCHED, UPGRADE
from support.gate_differences import FORGERIES, assert_refused
from support.gates import RunningGate, running_gate, service_at
from support.h2c import Http2
from support.hostile_requests import SMUGGLED as NEXT_REQUEST
from support.hostile_requests import Draft, instead, more, torn, within
from support.http_services import Handler, serving
from support.messages import check as check_message
from support.publishing import published
from support.raw import Answer, Conversation, get
from support.recorder import Recorded
from support.tcp_server import TcpServer
from support.tokens import USER, Signer, good_claims

SIGNER = Signer("ours")
bearer = SIGNER.bearer
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nkubeflow-userid: admin\r\n\r\n"


class Service(TcpServer):
    """Answers each head with `answer`, and keeps what it is sent on each connection. `answered`:
    the answers that it has given.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.answer = SWITCHED
        self.received: list[bytearray] = []
        self.answered: list[bytes] = []

    def serve(self, connection: socket.socket) -> None:
        received = bytearray()
        self.received.append(received)
        is_open = False
        while data := connection.recv(65536):
            received += data
            if is_open:
                connection.sendall(data)
            elif received.endswith(b"\r\n\r\n"):
                answer = self.answer
                connection.sendall(answer)
                is_open = answer == SWITCHED
                self.answered.append(answer)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[RunningGate]:
    folder: Path = tmp_path_factory.mktemp("gate")
    with running_gate(folder, SIGNER.jwks, protected=service_at(service.port)) as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(service: Service) -> None:
    service.answer = SWITCHED
    service.drop_connections()
    service.received.clear()
    service.answered.clear()


def opened(gate: RunningGate, *lines: str, host: str = EKF, after: bytes = b"") -> Answer:
    """The answer to a request on a connection of its own, which then sends `after`."""
    with gate.connect() as connection:
        connection.sendall(get(*lines, host=host, path="/ws"))
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(65536)):
                break
            head += data
        if head.startswith(b"HTTP/1.1 101 "):
            connection.sendall(after)
            return Answer(code=101, headers={}, body=connection.recv(100) if after else b"")
        conversation = Conversation(connection)
        conversation._received = head
        return conversation.answer()


def test_it_arrives_as_the_caller_and_without_the_token(
    gate: RunningGate, service: Service
) -> None:
    for forged in FORGERIES[:4]:
        service.received.clear()
        answer = opened(gate, bearer(), *UPGRADE, *forged, after=b"\x81\x02hi")
        assert (answer.code, answer.body) == (101, b"\x81\x02hi")
        (received,) = service.received
        arrived = Recorded(raw=bytes(received))
        assert arrived.header("kubeflow-userid") == USER
        names = {name.replace("_", "-") for name, _ in arrived.headers}
        assert not names & {"authorization", "content-length", "transfer-encoding"}
        assert arrived.header("upgrade") == "websocket"
        assert b"Bearer" not in received
        assert b"admin" not in received


def test_it_is_logged_when_it_opens_and_when_it_ends(gate: RunningGate) -> None:
    """It outlives its token: who has one open is what an administrator asks after a theft."""
    line = bearer(jti="logged")

    def logged() -> list[dict[str, Any]]:
        return [each for each in access_log(gate.folder) if each["jti"] == "logged"]

    with gate.connect() as connection:
        connection.sendall(get(line, *UPGRADE, host=EKF))
        assert b" 101 " in connection.recv(65536)
        (opening,) = eventually("it is logged", logged)
        assert (opening["code"], opening["user"]) == (101, USER)
    eventually("its end is logged", lambda: len(logged()) == 2)
    assert {each["request_id"] for each in logged()} == {opening["request_id"]}


PROTOCOL = (
    "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io."
    + base64.urlsafe_b64encode(SIGNER.sign(good_claims()).encode()).decode().rstrip("=")
)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), Reason.NO_TOKEN),
        ((PROTOCOL,), Reason.NO_TOKEN),
        ((bearer(), bearer()), Reason.UNREADABLE),
        ((bearer(aud=["elsewhere"]),), Reason.AUDIENCE),
        ((bearer(exp=1),), Reason.EXPIRED),
        ((f"Authorization: Bearer {Signer('other').sign(good_claims())}",), Reason.SIGNATURE),
    ],
)
def test_each_refusal_is_the_same_as_of_another_request(
    gate: RunningGate, service: Service, lines: tuple[str, ...], reason: Reason
) -> None:
    answer = opened(gate, *lines, *UPGRADE)
    assert_refused(answer, reason)
    assert answer.closes
    plain = gate.send(list(lines))
    assert (answer.code, answer.body) == (plain.code, plain.body)
    assert service.received == []


def changed(name: str, *values: str) -> tuple[str, ...]:
    """The lines of an upgrade with other values of a header."""
    others = [line for line in UPGRADE if not line.startswith(f"{name}:")]
    return (*others, *(f"{name}: {value}" for value in values))


NO_WEBSOCKETS = {
    "SPDY": changed("Upgrade", "SPDY/3.1"),
    "a list": changed("Upgrade", "websocket, foo"),
    "a list with h2c": changed("Upgrade", "h2c, websocket"),
    "two lines": changed("Upgrade", "websocket", "h2c"),
    "an old version": changed("Sec-WebSocket-Version", "8"),
    "no version": changed("Sec-WebSocket-Version"),
    "no key": changed("Sec-WebSocket-Key"),
    "a length": (*UPGRADE, "Content-Length: 5"),
    "a token for one hop": changed("Connection", "Upgrade, authorization"),
    "a user for one hop": changed("Connection", "Upgrade, kubeflow-userid"),
    "a user for one hop, on a line": changed("Connection", "Upgrade", "kubeflow-userid"),
}


@pytest.mark.parametrize("case", NO_WEBSOCKETS)
def test_no_other_upgrade_passes(gate: RunningGate, service: Service, case: str) -> None:
    for lines in ((bearer(), *NO_WEBSOCKETS[case]), NO_WEBSOCKETS[case]):
        answer = opened(gate, *lines)
        assert (answer.code, answer.headers[REASON_HEADER]) == (403, "upgrade")
        assert answer.closes
        check_message(answer.json["message"], reason="Forbidden")
    assert service.received == []


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT", "CONNECT"])
def test_only_get_opens_one(gate: RunningGate, service: Service, method: str) -> None:
    with gate.connect() as connection:
        request = get(bearer(), *UPGRADE, host=EKF).replace(b"GET", method.encode(), 1)
        conversation = Conversation(connection)
        conversation.send(request + SMUGGLED)
        answer = conversation.answer(head=method == "HEAD")
        assert answer.code in (400, 403)
        assert answer.closes
        assert conversation.answer().code == 0
    assert service.received == []


@pytest.mark.parametrize(
    "lines",
    [
        changed("Upgrade", "h2c"),
        (*changed("Upgrade", "h2c"), "HTTP2-Settings: AAMAAABk"),
        changed("Upgrade"),
        changed("Connection"),
        changed("Connection", "keep-alive"),
    ],
)
def test_what_is_no_whole_upgrade_is_an_ordinary_request(
    gate: RunningGate, service: Service, lines: tuple[str, ...]
) -> None:
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert opened(gate, bearer(), *lines).code == 200
    (received,) = service.received
    arrived = Recorded(raw=bytes(received))
    assert (arrived.header("upgrade"), arrived.header("connection")) == (None, None)
    assert arrived.header("kubeflow-userid") == USER
    assert_refused(opened(gate, *lines), Reason.NO_TOKEN)


def test_a_body_that_claims_to_be_chunked_has_no_length(
    gate: RunningGate, service: Service
) -> None:
    opened(gate, bearer(), *UPGRADE, "Transfer-Encoding: chunked", after=b"0\r\n\r\n")
    (received,) = service.received
    arrived = Recorded(raw=bytes(received))
    assert arrived.header("transfer-encoding") is None


# An upgrade that the service refuses, and further bytes: read as a request, they would come from
# the user that they name.

ANSWERS = {
    "426": b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno",
    "426 with Upgrade": (
        b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Content-Length: 2\r\n\r\nno"
    ),
    "403 that goes on": b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n",
    "403 that stops": b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno",
    "200": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "200 with Upgrade": (
        b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Content-Length: 2\r\n\r\nok"
    ),
    "200 that goes on": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "302": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "100, no more": b"HTTP/1.1 100 Continue\r\n\r\n",
    "103, no more": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("case", ANSWERS)
def test_what_follows_a_refused_upgrade_never_arrives(
    gate: RunningGate, service: Service, case: str, early: bool
) -> None:
    service.answer = ANSWERS[case]
    request = get(bearer(), *UPGRADE, host=EKF)
    with gate.connect() as connection:
        conversation = Conversation(connection)
        conversation.send(request + SMUGGLED if early else request)
        eventually("it is answered", lambda: service.answered)
        if case.startswith(("100", "103", "nothing")):
            conversation.send(SMUGGLED)
        elif ("goes on" in case and case.startswith("403")) or "stops" in case:
            connection.recv(65536)
            conversation.send(SMUGGLED)
        else:
            answer = conversation.answer()
            expected = 502 if case.startswith(("2", "3")) else int(case[:3])
            assert answer.code == expected
            if expected == 502:
                assert answer.headers[REASON_HEADER] == "no-websocket"
                check_message(answer.json["message"], reason="BadGateway")
            conversation.send(SMUGGLED)
        # What Envoy had from this connection has arrived by the time that others were served.
        service.answer = SWITCHED
        for _ in range(3):
            assert opened(gate, bearer(), *UPGRADE, after=b"x").code == 101
        assert not [each for each in service.received if b"smuggled" in each]


def hostile_upgrades(seed: int, authorization: str) -> Iterator[bytes]:
    """Handshakes of a WebSocket, bent in up to three places; another request follows each.

    None has a body, so that a simple server behind tells one request from the next.
    """
    chance = random.Random(seed)  # noqa: S311 - chosen to be had again, not to be secret
    while True:
        draft = Draft({
            "method": "GET", "target": "/ws", "host": f"Host: {EKF}",
            "upgrade": "Upgrade: websocket", "authorization": f"Authorization: {authorization}",
            "connection": "Connection: Upgrade", "version": "Sec-WebSocket-Version: 13",
            "key": "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==", "length": "",
        })  # fmt: skip
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            chance.choice((instead, within, more))(chance, draft)
        raw = draft.raw()
        yield (torn(chance, raw) if chance.random() < 0.1 else raw) + NEXT_REQUEST


class Http(Handler):
    """Refuses each request, and goes on reading."""

    arrived: ClassVar[list[tuple[str, Message]]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return self.refuse

    def refuse(self) -> None:
        self.arrived.append((self.requestline, self.headers))
        self.content()
        self.answer(426)


def test_of_hundreds_of_hostile_handshakes_nothing_arrives_as_somebody_else(
    tmp_path: Path,
) -> None:
    authorization = bearer().removeprefix("Authorization: ")
    with (
        serving(Http) as port,
        running_gate(tmp_path, SIGNER.jwks, protected=service_at(port)) as gate,
    ):
        for raw in islice(hostile_upgrades(6455, authorization), 400):
            with gate.connect() as connection, suppress(TimeoutError):
                connection.settimeout(0.05)
                conversation = Conversation(connection)
                conversation.send(raw)
                while not conversation.answer().closes:
                    pass
    arrived = Http.arrived
    assert [line for line, head in arrived if head.get_all("kubeflow-userid") != [USER]] == []
    assert [line for line, head in arrived if head.get_all("authorization")] == []
    upgrades = [line for line, head in arrived if head.get("upgrade")]
    assert len(upgrades) > 50
    assert {line for line in upgrades if not line.startswith("GET ")} == set()
    assert len(arrived) > len(upgrades)


# Over HTTP/2 none is offered (RFC 8441): nothing tells a client that it may ask.


@pytest.mark.parametrize("protocol", ["websocket", "connect-udp", "connect-ip", "foo"])
def test_http2_carries_none(gate: RunningGate, service: Service, protocol: str) -> None:
    token = bearer().removeprefix("Authorization: ")
    block = [
        (":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"),
        (":authority", EKF), (":path", "/ws"), ("authorization", token),
        ("sec-websocket-version", "13"), ("sec-websocket-key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ]  # fmt: skip
    with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
        assert client.request(block).code != 200
    with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
        plain = [*((name, value) for name, value in block if name != ":protocol")]
        assert client.request([*plain, ("upgrade", "websocket")]).code != 200
    assert service.received == []


def test_an_open_one_outlives_its_token_and_another_is_refused(
    tmp_path: Path, service: Service
) -> None:
    line = bearer(jti="gone")
    with (
        running_gate(tmp_path, SIGNER.jwks, protected=service_at(service.port)) as gate,
        gate.connect() as connection,
    ):
        connection.sendall(get(line, *UPGRADE, host=EKF))
        assert b" 101 " in connection.recv(65536)
        gate.publish(published(tokens={"gone"}))
        eventually("new ones are refused", lambda: opened(gate, line, *UPGRADE).code == 401)
        assert_refused(opened(gate, line, *UPGRADE), Reason.DENIED)
        connection.sendall(b"after")
        assert connection.recv(100) == b"after"


def test_those_that_stay_open_leave_room_for_requests(tmp_path: Path) -> None:
    """Silent ones stay for an hour, even after their token is denied; the door is next to them."""
    allowed = 2

    def change(files: dict[str, Any]) -> None:
        (cluster,) = (
            each
            for each in files["envoy.json"]["static_resources"]["clusters"]
            if each["name"] == WEB_SOCKETS
        )
        (threshold,) = cluster["circuit_breakers"]["thresholds"]
        assert threshold["max_requests"] == MOST_WEB_SOCKETS < MOST_CONNECTIONS
        threshold["max_requests"] = allowed

    with Service() as service, ExitStack() as kept:
        gate = kept.enter_context(
            running_gate(tmp_path, SIGNER.jwks, protected=service_at(service.port), change=change)
        )
        silent = [kept.enter_context(gate.connect()) for _ in range(allowed)]
        for connection in silent:
            connection.sendall(get(bearer(), *UPGRADE, host=EKF))
            assert b" 101 " in connection.recv(65536)
        refused = opened(gate, bearer(), *UPGRADE)
        assert (refused.code, refused.headers[REASON_HEADER]) == (429, "too-many-requests")
        check_message(refused.json["message"], reason="TooManyRequests")
        service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        assert gate.send([bearer()]).code == 200
        silent[0].close()
        service.answer = SWITCHED
        eventually("there is room again", lambda: opened(gate, bearer(), *UPGRADE).code == 101)
