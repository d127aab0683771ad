"""An API server that fails: the client gets a Status in time, and nothing is sent twice."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hyperframe.frame import SettingsFrame

from daypass.render.envoy.settings import Timeouts
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
from support.recorder import ANSWER, ANSWER_BODY, Recorded, answer_with, hang_up

SHORT = Timeouts(connect_seconds=0.3, answer_seconds=0.4, close_seconds=0.05, read_seconds=0.3)


@pytest.fixture(scope="module")
def impatient_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorEnv]:
    """A door that waits a fraction of a second for the API server."""
    with running_door_env(
        tmp_path_factory.mktemp("upstream"), change=lambda s: replace(s, timeouts=SHORT)
    ) as env:
        yield env


@pytest.fixture
def failing(impatient_env: DoorEnv) -> Iterator[DoorEnv]:
    """The same, whose recorder behaves again after each test."""
    yield impatient_env
    impatient_env.recorder.behave = answer_with(ANSWER)
    impatient_env.recorder.drop_connections()
    eventually("it works again", lambda: impatient_env.door.send(post()).code == 201)
    impatient_env.recorder.take()


def assert_one_exact(env: DoorEnv) -> None:
    assert [recorded.faults() for recorded in env.recorder.take()] == [[]]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_api_server_that_hangs_up_is_answered_503_and_not_asked_again(
    failing: DoorEnv, method: str
) -> None:
    failing.recorder.behave = hang_up
    assert_refused(failing.door.send(post(method=method, body=b"")), 503)
    assert_one_exact(failing)


def test_an_api_server_that_does_not_answer_is_answered_504(failing: DoorEnv) -> None:
    failing.recorder.behave = lambda connection, recorded: None
    assert_refused(failing.door.send(post()), 504)
    assert_one_exact(failing)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ],
)
def test_an_answer_that_is_no_http_is_answered_502(failing: DoorEnv, answer: bytes) -> None:
    failing.recorder.behave = answer_with(answer)
    assert_refused(failing.door.send(post()), 502)
    assert_one_exact(failing)


def test_headers_without_an_end_are_cut(failing: DoorEnv) -> None:
    failing.recorder.behave = answer_with(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 1_000_000)
    answer = failing.door.send(post())
    assert answer.code in (502, 503)
    assert_refused(answer, answer.code)
    assert_one_exact(failing)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n",
    ],
)
def test_an_answer_without_an_end_is_cut(failing: DoorEnv, head: bytes) -> None:
    """Within the time for an answer, and with no more of it held than a buffer."""
    ended = threading.Event()

    def endless(connection: ssl.SSLSocket, _: Recorded) -> None:
        connection.sendall(head)
        try:
            while True:
                connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        finally:
            ended.set()

    failing.recorder.behave = endless
    with failing.door.connect() as connection:
        connection.sendall(post())
        read = 0
        while part := connection.recv(65536):
            read += len(part)
        assert read > 0
    assert ended.wait(60)
    assert_one_exact(failing)


@pytest.mark.parametrize(
    "status",
    [
        "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found",
        "422 Unprocessable Entity", "429 Too Many Requests", "500 Internal Server Error",
        "503 Service Unavailable", "302 Found", "204 No Content",
    ],
)  # fmt: skip
def test_an_answer_of_the_api_servers_own_comes_back_as_it_is(
    failing: DoorEnv, status: str
) -> None:
    code = int(status[:3])
    body = b'{"kind":"Status","message":"of the API server"}' if code != 204 else b""
    length = f"content-length: {len(body)}\r\n" if body else ""
    head = f"HTTP/1.1 {status}\r\nretry-after: 7\r\naudit-id: x\r\n{length}\r\n"
    failing.recorder.behave = answer_with(head.encode() + body)
    answer = failing.door.send(post())
    assert (answer.code, answer.body) == (code, body)
    assert (answer.headers["retry-after"], answer.headers["audit-id"]) == ("7", "x")
    assert "www-authenticate" not in answer.headers
    assert_one_exact(failing)


def test_a_change_of_protocol_by_the_api_server_opens_no_tunnel(failing: DoorEnv) -> None:
    """What the client sends next is the next request, and judged."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    failing.recorder.behave = answer_with(head + b"hello")
    with failing.door.connect() as connection:
        conversation = Conversation(connection)
        conversation.send(post())
        conversation.send(b"GET /api/v1/secrets HTTP/1.1\r\nHost: kubernetes.default.svc\r\n\r\n")
        assert_refused(conversation.answer(), 404)
    assert_one_exact(failing)


def test_an_answer_split_in_two_is_one(failing: DoorEnv) -> None:
    """What follows an answer belongs to no client."""
    more = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nxyz"
    failing.recorder.behave = answer_with(ANSWER + more)
    for _ in range(3):
        answer = failing.door.send(post())
        assert answer.code in (201, 502, 503)
        assert answer.body == ANSWER_BODY or answer.code != 201


LARGE = b"HTTP/1.1 200 OK\r\ncontent-length: 16777216\r\n\r\n" + b"x" * 16_777_216


@pytest.mark.parametrize("answer", [ANSWER, LARGE], ids=["small", "large"])
def test_an_answer_that_its_client_does_not_take_is_not_kept(
    failing: DoorEnv, answer: bytes
) -> None:
    """A small one is whole at the door and waits for its reader, a large one at the API server."""
    failing.recorder.behave = answer_with(answer)
    with http2(failing) as client:
        client.send_raw(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
        reply = client.wait(client.send(http2_fields(), BODY))
    assert (reply.code, reply.body) == (201 if answer is ANSWER else 200, b"")
    assert reply.reset is not None
    assert_one_exact(failing)


def test_an_answer_that_nobody_reads_ends_with_its_connection(failing: DoorEnv) -> None:
    failing.recorder.behave = answer_with(LARGE)
    with failing.door.connect() as connection:
        connection.sendall(post())
        eventually("it is under way", lambda: failing.recorder.take())
        ended = "http.door.downstream_cx_active"
        eventually("the door has ended it", lambda: failing.door.stat(ended) == 0)


def test_a_client_that_goes_away_leaves_nothing_behind(failing: DoorEnv) -> None:
    failing.recorder.behave = lambda connection, recorded: None
    with failing.door.connect() as connection:
        connection.sendall(post())
        eventually("it is under way", lambda: failing.recorder.take())
    active = "cluster.api-server.upstream_rq_active"
    eventually("nothing is under way", lambda: failing.door.stat(active) == 0)
