"""Each of the three checks with the embedded API server: revocation, crashes, open streams."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from daypass.local.demo import ask
from daypass.local.envoy import EnvoyFailedError
from daypass.local.stack import HOST, LocalStack, MadeIdentity, stack_config
from daypass.render.envoy.authorizer_filters import TIMEOUT_SECONDS
from local.up_embedded import checked_by
from support.deadline import eventually
from support.h2c import Http2, Reply
from support.messages import check as check_message
from support.raw import Answer, connect, exchange, get
from support.tcp_server import TcpServer
from support.unlimited_reviews import unlimited_reviews

CHECKS = ("jwt", "review")


def config(check: str) -> str:
    return checked_by(check, stack_config())


def code(stack: LocalStack, token: Secret) -> int:
    """Of a request with this token."""
    return ask(stack, stack.gate, "/", token).code


class StreamingService(TcpServer):
    """Answers a head at once, and gives back each byte of a body in chunks as it comes.

    `heads`: of the requests that arrived.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []

    def serve(self, connection: socket.socket) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                if not (data := connection.recv(65536)):
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            if b"chunked" not in head.lower():
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            # A chunked body, sent back as it stands, is a chunked body.
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            ended = False
            while not ended:
                connection.sendall(received)
                ended = received.endswith(b"0\r\n\r\n")
                if not ended and not (received := connection.recv(65536)):
                    return
            received = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A stack whose gate guards a streaming service."""

    stack: LocalStack
    service: StreamingService

    @property
    def port(self) -> int:
        return self.stack.supervisor.envoy.ports["gate"]

    @property
    def pem(self) -> str:
        return self.stack.authority_file.read_text()

    def identity(self, name: str) -> tuple[MadeIdentity, str]:
        """A new identity, and an Authorization value of its."""
        made = self.stack.make_identity(name=name)
        return made, f"Bearer {self.stack.make_token(made).reveal()}"

    def send(self, *lines: str) -> Answer:
        """The answer to a GET on a connection of its own."""
        with connect(self.port, authority_pem=self.pem, name=HOST) as connection:
            return exchange(connection, get(*lines, host=HOST))


@pytest.fixture(scope="module", params=CHECKS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder: Path = tmp_path_factory.mktemp("s")
    with unlimited_reviews(), StreamingService() as service:
        text = stack_config(upstream=f"http://127.0.0.1:{service.port}")
        with LocalStack(folder, config=checked_by(request.param, text)) as stack:
            yield Lab(stack=stack, service=service)


def test_a_dead_authorizer_closes_the_gate_and_is_reported(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        unlimited_reviews(envoy_seconds=TIMEOUT_SECONDS),  # a dead one never responds
        LocalStack(tmp_path_factory.mktemp("s"), config=config("review")) as stack,
    ):
        token = stack.make_token(stack.make_identity())
        assert code(stack, token) == 200
        authorizer = stack.supervisor._authorizer
        assert authorizer is not None
        authorizer.stop()
        assert code(stack, token) == 503
        stack.supervisor.check()
        check_message(stack.said[-1], "authorizer", reason="log")


def fields(value: str, method: str = "POST", **more: str) -> list[tuple[str, str]]:
    pseudo = {":method": method, ":scheme": "https", ":authority": HOST, ":path": "/", **more}
    return [*pseudo.items(), ("authorization", value)]


def test_an_open_stream_continues_and_a_new_one_on_its_connection_is_refused(lab: Lab) -> None:
    identity, value = lab.identity("streaming")
    with Http2(lab.port, authority_pem=lab.pem, name=HOST) as client:
        stream = client.send(fields(value), b"before", end=False)
        assert client.received(stream, 6) == b"before"
        assert client.request(fields(value, "GET")).code == 200
        lab.stack.revoke(identity)

        def refused() -> Reply | None:
            reply = client.request(fields(value, "GET"))
            return None if reply.code == 200 else reply

        reply = eventually("a new stream is refused", refused)
        assert reply.code == 401
        # A stream that begins now sends its body to nobody.
        arrived = len(lab.service.heads)
        late = client.send(fields(value), b"x", end=False)
        client.upload(late, b"y")
        assert client.wait(late).code == 401
        client.upload(stream, b", after", end=False)
        assert client.received(stream, 13) == b"before, after"
        client.upload(stream, b", end")
        ended = client.wait(stream)
    assert (ended.code, ended.body, ended.reset) == (200, b"before, after, end", None)
    assert len(lab.service.heads) == arrived


def test_revoked_tokens_are_refused_and_without_envoy_nothing_passes(lab: Lab) -> None:
    stack = lab.stack
    identities = [stack.make_identity(name=name) for name in ("one", "other")]
    revoked, good = (stack.make_token(each) for each in identities)
    assert (code(stack, revoked), code(stack, good)) == (200, 200)
    assert code(stack, stack.make_token(identities[1], bound=False)) == 403
    assert code(stack, stack.make_token(identities[1], expired=True)) == 401
    stack.revoke(identities[0])
    eventually("it is refused", lambda: code(stack, revoked) == 401)
    os.kill(stack.supervisor.envoy.process.pid, signal.SIGKILL)
    eventually("it has ended", lambda: not stack.supervisor.envoy.process.running())
    with pytest.raises(OSError, match="refused"):
        code(stack, good)
    with pytest.raises(EnvoyFailedError, match="killed"):
        stack.supervisor.check()
