"""Open streams and requests when their token is revoked, at a local gate with each check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass.local.stack import HOST, LocalStack, MadeIdentity, stack_config
from support.deadline import eventually
from support.h2c import Http2, Reply
from support.messages import check
from support.raw import Answer, Conversation, connect
from support.streaming import StreamingService, streaming_service

CHECKS = ("jwt", "review", "both")
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A stack whose gate guards a streaming service."""

    stack: LocalStack
    service: StreamingService

    @property
    def port(self) -> int:
        return self.stack.supervisor.edge.ports["gate"]

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
            conversation = Conversation(connection)
            head = ["GET / HTTP/1.1", f"Host: {HOST}", *lines, "", ""]
            conversation.send("\r\n".join(head).encode())
            return conversation.answer()


@pytest.fixture(scope="module", params=CHECKS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder: Path = tmp_path_factory.mktemp("s")
    with streaming_service() as service:
        config = stack_config(upstream=f"http://127.0.0.1:{service.port}")
        config = config.replace("engine: envoy,", f"engine: envoy, check: {request.param},")
        with LocalStack(folder, config=config) as stack:
            yield Lab(stack=stack, service=service)


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
        assert client.wait(client.send(fields(value), b"x", end=False)).code == 401
        arrived = len(lab.service.heads)
        client.send_more(stream, b", after")
        assert client.received(stream, 13) == b"before, after"
        client.send_more(stream, b", end", end=True)
        ended = client.wait(stream)
    assert (ended.code, ended.body, ended.reset) == (200, b"before, after, end", None)
    assert len(lab.service.heads) == arrived


def test_a_long_request_and_its_response_continue_over_http1(lab: Lab) -> None:
    identity, value = lab.identity("long")
    line = f"Authorization: {value}"
    arrived = len(lab.service.heads)
    with connect(lab.port, authority_pem=lab.pem, name=HOST) as connection:
        conversation = Conversation(connection)
        head = ["POST / HTTP/1.1", f"Host: {HOST}", line, "Transfer-Encoding: chunked", "", ""]
        conversation.send("\r\n".join(head).encode() + b"6\r\nbefore\r\n")
        eventually("it arrives", lambda: lab.service.heads[arrived:])
        lab.stack.revoke(identity)
        eventually("others are refused", lambda: lab.send(line).code == 401)
        conversation.send(b"5\r\nafter\r\n0\r\n\r\n")
        answer = conversation.answer()
    assert (answer.code, answer.body) == (200, b"beforeafter")


def test_websockets_are_refused(lab: Lab) -> None:
    _, value = lab.identity("socket")
    arrived = len(lab.service.heads)
    for lines in ((f"Authorization: {value}", *UPGRADE), UPGRADE):
        answer = lab.send(*lines)
        assert (answer.code, answer.json["reason"]) == (403, "Forbidden")
        check(answer.json["message"], reason="Forbidden")
        assert answer.closes
    with Http2(lab.port, authority_pem=lab.pem, name=HOST) as client:
        reply = client.request(fields(value, "CONNECT", **{":protocol": "websocket"}))
    assert reply.code != 200
    assert len(lab.service.heads) == arrived
