"""Both checks with the embedded API server: open streams, and a crash of the authorizer."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from daypass._core.secret import Secret
from daypass.local.demo import ask
from daypass.local.stack import HOST, LocalStack, stack_config
from daypass.render.envoy.authorizer_filters import TIMEOUT_SECONDS
from local.up_embedded import checked_by
from support.deadline import eventually
from support.h2c import Http2, Reply
from support.messages import check as check_message
from support.tcp_server import TcpServer
from support.unlimited_reviews import unlimited_reviews


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


def test_a_dead_authorizer_closes_the_gate_and_is_reported(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        unlimited_reviews(envoy_seconds=TIMEOUT_SECONDS),  # a dead one never responds
        LocalStack(
            tmp_path_factory.mktemp("s"), config=checked_by("review", stack_config())
        ) as stack,
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


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_an_open_stream_continues_and_a_new_one_on_its_connection_is_refused(
    tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    with ExitStack() as ended:
        ended.enter_context(unlimited_reviews())
        service = ended.enter_context(StreamingService())
        text = checked_by(check, stack_config(upstream=f"http://127.0.0.1:{service.port}"))
        folder = tmp_path_factory.mktemp("s")
        stack = ended.enter_context(LocalStack(folder, config=text))
        identity = stack.make_identity()
        value = f"Bearer {stack.make_token(identity).reveal()}"
        port, pem = stack.supervisor.envoy.ports["gate"], stack.authority_file.read_text()
        client = ended.enter_context(Http2(port, authority_pem=pem, name=HOST))
        stream = client.send(fields(value), b"before", end=False)
        eventually("it begins", lambda: client.settled(stream).body == b"before")
        assert client.request(fields(value, "GET")).code == 200
        stack.revoke(identity)

        def refused() -> Reply | None:
            reply = client.request(fields(value, "GET"))
            return None if reply.code == 200 else reply

        reply = eventually("a new stream is refused", refused)
        assert reply.code == 401
        # A stream that begins now sends its body to nobody.
        arrived = len(service.heads)
        late = client.send(fields(value), b"x", end=False)
        client.upload(late, b"y")
        assert client.wait(late).code == 401
        client.upload(stream, b", after", end=False)
        eventually("it goes on", lambda: client.settled(stream).body == b"before, after")
        client.upload(stream, b", end")
        whole = client.wait(stream)
        assert (whole.code, whole.body, whole.reset) == (200, b"before, after, end", None)
        assert len(service.heads) == arrived
