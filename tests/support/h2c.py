"""An HTTP/2 client that says what no library would: any header block, any frame."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import Frame, HeadersFrame

from support.raw import connect

Fields = Sequence[tuple[str, str]]


@dataclass(slots=True, kw_only=True)
class Reply:
    """How a stream ended: with an answer, or (`code` 0) with a reset or the connection's end."""

    code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    ended: bool = False
    closed: bool = False

    @property
    def ended_by_door(self) -> bool:
        """Whether the stream or the connection ended without an answer."""
        return self.code == 0 and (self.closed or self.reset is not None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Http2:
    """One connection. What is sent is neither checked nor put in order; what comes back is."""

    def __init__(self, port: int, *, authority_pem: str, name: str) -> None:
        self._socket = connect(port, authority_pem=authority_pem, name=name, alpn="h2")
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=True,
            )
        )
        self._h2.initiate_connection()
        self._flush()
        self._replies: dict[int, Reply] = {}
        self._closed = False
        self._pongs = 0

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, fields: Fields, body: bytes = b"", *, trailers: Fields = ()) -> Reply:
        return self.wait(self.send(fields, body, trailers=trailers))

    def send(
        self, fields: Fields, body: bytes = b"", *, trailers: Fields = (), end: bool = True
    ) -> int:
        """Send a request, or its beginning where not `end`; the stream's number."""
        stream = self._h2.get_next_available_stream_id()
        self._replies[stream] = Reply()
        self._h2.send_headers(stream, list(fields), end_stream=end and not body and not trailers)
        if body:
            self.upload(stream, body, end=end and not trailers)
        if trailers:
            # h2 checks the order of pseudo-headers in trailers itself; the encoder does not.
            flags = ["END_HEADERS", "END_STREAM"]
            self.send_raw(HeadersFrame(stream, self.encode(trailers), flags=flags))
        self._flush()
        return stream

    def upload(self, stream: int, body: bytes, *, end: bool = True) -> int:
        """Send a body as the other side makes room; the bytes sent when it ended."""
        sent, reply = 0, self._replies[stream]
        while sent < len(body) and not (reply.ended or self._closed):
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room:
                self._h2.send_data(stream, body[sent : sent + room])
                sent += room
                self._flush()
            else:
                self._receive()
        if end and not (reply.ended or self._closed):
            self._h2.end_stream(stream)
            self._flush()
        return min(sent, len(body))

    def settled(self, stream: int) -> Reply:
        """What has come for a stream once the other side has read and answered all before."""
        self._pongs = 0
        self._h2.ping(b"settled?")
        self._flush()
        while not (self._pongs or self._closed):
            self._receive()
        return self._replies[stream]

    def send_raw(self, *frames: Frame) -> None:
        self._flush()
        self._write(b"".join(frame.serialize() for frame in frames))

    def encode(self, fields: Iterable[tuple[str, str]]) -> bytes:
        return bytes(self._h2.encoder.encode(list(fields)))

    def wait(self, stream: int) -> Reply:
        reply = self._replies.setdefault(stream, Reply())
        while not (reply.ended or self._closed):
            self._receive()
        reply.closed = self._closed
        return reply

    @property
    def closed(self) -> bool:
        """Whether the other side has ended the connection, as far as is known."""
        return self._closed

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self._closed = True
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._closed = True
            return
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            # A GOAWAY with an error; one without lets open streams end.
            self._closed = self._closed or event.error_code != h2.errors.ErrorCodes.NO_ERROR
        self._pongs += isinstance(event, h2.events.PingAckReceived)
        stream = getattr(event, "stream_id", None)
        if stream is None or stream not in self._replies:
            return
        pending = self._replies[stream]
        if isinstance(event, h2.events.ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers or ()}
            pending.code, pending.headers = int(headers.pop(":status")), headers
        elif isinstance(event, h2.events.DataReceived):
            pending.body += event.data or b""
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        elif isinstance(event, h2.events.StreamReset):
            pending.ended, pending.reset = True, int(event.error_code or 0)
        elif isinstance(event, h2.events.StreamEnded):
            pending.ended = True

    def _flush(self) -> None:
        self._write(self._h2.data_to_send())

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (ConnectionError, ssl.SSLError):
            self._closed = True
