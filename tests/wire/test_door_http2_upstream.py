"""To an API server that speaks HTTP/2 the door does, and sends no more than it has to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from support.doors import (
    BODY,
    UPSTREAM_PATH,
    DoorEnv,
    http2_fields,
    post,
    running_door_env,
    send_http2,
)
from support.h2c import Fields
from support.recorder import ANSWER_BODY, Recorded, Recorder


class Http2Recorder(Recorder):
    """Answers every request with 201. What HTTP/2 has and HTTP/1.1 has not is kept as a fault:
    other pseudo-headers than the four, another scheme than https, trailers."""

    protocol = "h2"

    def read(self, connection: ssl.SSLSocket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        h2c = h2.connection.H2Connection(config)
        h2c.initiate_connection()
        connection.sendall(h2c.data_to_send())
        streams: dict[int, _Arriving] = {}
        while data := connection.recv(65536):
            try:
                events = h2c.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                self.keep(Recorded(raw=b"", malformed=repr(error)))
                return
            for event in events:
                self._take(h2c, streams, event)
            connection.sendall(h2c.data_to_send())

    def _take(
        self, h2c: h2.connection.H2Connection, streams: dict[int, _Arriving], event: h2.events.Event
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            streams[event.stream_id] = _Arriving([(str(n), str(v)) for n, v in event.headers])
        elif isinstance(event, h2.events.DataReceived):
            streams[event.stream_id].body += event.data
            h2c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            streams[event.stream_id].malformed += f"trailers {event.headers}"
        elif isinstance(event, h2.events.StreamEnded):
            self.keep(streams.pop(event.stream_id).recorded())
            h2c.send_headers(
                event.stream_id, [(":status", "201"), ("content-type", "application/json")]
            )
            h2c.send_data(event.stream_id, ANSWER_BODY, end_stream=True)


class _Arriving:
    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._pseudo = {name: value for name, value in fields if name.startswith(":")}
        self._fields = [(name, value) for name, value in fields if not name.startswith(":")]
        self.body = b""
        self.malformed = ""
        if set(self._pseudo) != {":method", ":scheme", ":authority", ":path"}:
            self.malformed += f"pseudo-headers {sorted(self._pseudo)}"
        elif self._pseudo[":scheme"] != "https":
            self.malformed += f"scheme {self._pseudo[':scheme']}"

    def recorded(self) -> Recorded:
        if self.malformed:
            return Recorded(raw=b"", malformed=self.malformed)
        line = f"{self._pseudo[':method']} {self._pseudo[':path']} HTTP/1.1"
        fields = [("host", self._pseudo[":authority"]), *self._fields]
        head = "\r\n".join([line, *(f"{name}: {value}" for name, value in fields)])
        return Recorded(raw=head.encode("latin-1") + b"\r\n\r\n" + self.body)


@pytest.fixture(scope="module")
def h2_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorEnv]:
    with running_door_env(tmp_path_factory.mktemp("h2"), kind=Http2Recorder) as env:
        yield env


@pytest.mark.parametrize(
    "block",
    [
        http2_fields(),
        http2_fields(scheme="http"),
        http2_fields(("host", "evil.example.com")),
        http2_fields(("impersonate-user", "admin"), ("x-forwarded-proto", "http")),
    ],
)
def test_an_http2_request_arrives_exactly(h2_env: DoorEnv, block: Fields) -> None:
    reply, (arrived,) = send_http2(h2_env, block, trailers=[("impersonate-user", "admin")])
    assert reply.code == 201
    assert arrived.body == BODY


@pytest.mark.parametrize(
    "extra", [(), ("TE: trailers",), ("X-Forwarded-Proto: http",), ("Connection: close",)]
)
def test_an_http_1_request_arrives_exactly(h2_env: DoorEnv, extra: tuple[str, ...]) -> None:
    outcome = h2_env.send(post(extra=extra))
    assert outcome.answer.code == 201
    (arrived,) = outcome.arrived
    assert arrived.request_line == f"POST {UPSTREAM_PATH} HTTP/1.1"


def test_requests_share_a_connection(h2_env: DoorEnv) -> None:
    before = h2_env.door.stat("cluster.api-server.upstream_cx_total")
    assert {answer.code for answer in h2_env.send_each([post()] * 50)} == {201}
    assert len(h2_env.arrived()) == 50
    after = h2_env.door.stat("cluster.api-server.upstream_cx_total")
    assert after - before <= 1
