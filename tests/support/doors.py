"""A door of the rendered config on a real Envoy, for the wire tests."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daypass.config import Address
from daypass.config.exposure import Exposure
from daypass.local.envoy import ADMIN_SOCKET, Envoy
from daypass.render.envoy.bootstrap import envoy_files, to_json
from daypass.render.envoy.settings import Certificate, DoorSettings, Upstream
from daypass.render.envoy.xds import Json
from daypass.rules.reasons import REASON_HEADER
from support.authority import Authority
from support.deadline import eventually
from support.h2c import Fields, Http2, Reply
from support.raw import Answer, Conversation, Reconnecting, connect, exchange
from support.recorder import UPSTREAM_NAME, Recorded, Recorder

EKF, SERVING = "ekf.example.com", "serving.example.com"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
PATH = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"
UPSTREAM_PATH = PATH.removeprefix("/kubernetes")
CHECK = "/kubernetes/api/v1/namespaces/default/serviceaccounts/default/token"
"""What tells whether the API server is reached: it answers 403."""
BODY = b'{"spec":{"audiences":["gate"]}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A running door, its port, its authority, and the settings it was made from."""

    envoy: Envoy
    port: int
    authority: Authority
    settings: DoorSettings
    folder: Path

    def connect(self, *, name: str = EKF, alpn: str = "http/1.1") -> ssl.SSLSocket:
        host = self.settings.listen.host
        return connect(self.port, authority_pem=self.authority.pem, name=name, alpn=alpn, host=host)

    def send(self, request: bytes, *, name: str = EKF) -> Answer:
        with self.connect(name=name) as connection:
            return exchange(connection, request, head=request.startswith(b"HEAD "))

    def stat(self, name: str) -> int:
        return int(self.envoy.stats(f"^{name}$").get(name, 0))


def access_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of it so far: Envoy may write a line in two parts."""
    *whole, _ = (folder / "envoy.log").read_text().split("\n")
    return [json.loads(line) for line in whole if line.startswith("{")]


def upstream_at(folder: Path, port: int, authority_pem: str) -> Upstream:
    """An API server on 127.0.0.1, whose authority is put into `folder`."""
    file = folder / "upstream-ca.crt"
    file.write_text(authority_pem)
    address = Address(host="127.0.0.1", port=port)
    return Upstream(address=address, authority_file=str(file), server_name=UPSTREAM_NAME)


def door_settings(folder: Path, authority: Authority, upstream: Upstream) -> DoorSettings:
    """A door for two domains on a free port, with certificates in `folder`, without rate limits."""
    certificates = []
    for short, host in (("ekf", EKF), ("serving", SERVING)):
        certificate, key = folder / f"{short}.crt", folder / f"{short}.key"
        pair = authority.server(host)
        certificate.write_text(pair.certificate_pem)
        key.write_text(pair.key_pem)
        certificates.append(
            Certificate(
                name=short, certificate_file=str(certificate), key_file=str(key),
                server_names=(host,),
            )
        )  # fmt: skip
    return DoorSettings(
        exposure=Exposure(prefix="/kubernetes", hosts=(EKF, SERVING)),
        listen=Address(host="127.0.0.1", port=0),
        certificates=tuple(certificates),
        upstream=upstream,
        trusted_hops=0,
        rate_limits=None,
    )


@contextmanager
def running_envoy(folder: Path, files: Mapping[str, Json]) -> Iterator[Envoy]:
    """An Envoy with these files, of which it reads envoy.json first."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(to_json(content))
    envoy = Envoy.start(folder, "envoy.json", concurrency=1)
    try:
        yield envoy
    finally:
        envoy.stop()


@contextmanager
def running_door(
    folder: Path,
    upstream_port: int,
    *,
    upstream_authority_pem: str,
    change: Callable[[DoorSettings], DoorSettings] = replace,
) -> Iterator[Door]:
    """A door in front of 127.0.0.1:`upstream_port`; `change` alters its settings first."""
    authority = Authority()
    upstream = upstream_at(folder, upstream_port, upstream_authority_pem)
    settings = change(door_settings(folder, authority, upstream))
    files = envoy_files(settings, str(folder), admin_socket=ADMIN_SOCKET)
    with running_envoy(folder, files) as envoy:
        port = envoy.port("door")
        yield Door(envoy=envoy, port=port, authority=authority, settings=settings, folder=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of some bytes: the answers to them, and what arrived behind the door."""

    answers: tuple[Answer, ...]
    arrived: tuple[Recorded, ...]

    @property
    def answer(self) -> Answer:
        return self.answers[0]

    @property
    def codes(self) -> list[int]:
        """The code of each answer; 0 where the connection ended without one."""
        return [answer.code for answer in self.answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorEnv:
    """A door and the recorder behind it, which a certificate of `authority` proves to be that."""

    door: Door
    recorder: Recorder
    authority: Authority

    def send(self, request: bytes, *, name: str = EKF) -> Outcome:
        """Bytes on a connection of their own, everything that came back, and what arrived."""
        with self.door.connect(name=name) as connection:
            conversation = Conversation(connection)
            conversation.send(request)
            first = conversation.answer(head=request.startswith(b"HEAD "))
            arrived = self.arrived()
            return Outcome(answers=(first, *conversation.pending()), arrived=arrived)

    def assert_refuses(self, request: bytes, *codes: int) -> Answer:
        """Send a request; fail unless the door itself refuses it, with one of these codes, and
        nothing arrives behind the door. Return the answer.
        """
        outcome = self.send(request)
        assert outcome.answer.code in codes, outcome.answer
        assert_refused(outcome.answer, outcome.answer.code)
        assert outcome.arrived == ()
        return outcome.answer

    def send_each(self, requests: Iterable[bytes]) -> list[Answer]:
        """The first answer to each request, on one connection for as long as the door keeps it."""
        with contextlib.closing(Reconnecting(self.door.connect)) as asking:
            return [asking.ask(request) for request in requests]

    def arrived(self) -> tuple[Recorded, ...]:
        """What arrived since the last call, once nothing is under way any more.

        Fails if any of it is no exact TokenRequest.
        """
        recorded = self.settled()
        assert [fault for request in recorded for fault in request.faults()] == []
        return recorded

    def settled(self) -> tuple[Recorded, ...]:
        """What arrived since the last call, whatever it is, once nothing is under way any more.

        Fails if the recorder read more or fewer requests than the door sent: then the two do not
        agree on where a request ends.
        """
        # The door has one thread of work: when it has served this, it has read all before it.
        assert self.door.send(post(BARRIER_PATH)).code == 201
        eventually("every request sent is recorded, none is open", self._settled)
        recorded = self.recorder.take()
        barriers = [r for r in recorded if r.request_line == _BARRIER_LINE]
        assert len(barriers) == 1
        return tuple(r for r in recorded if r.request_line != _BARRIER_LINE)

    def _settled(self) -> bool:
        stats = self.door.envoy.stats("^cluster.api-server.upstream_rq_(active|total)$")
        active, total = (stats[f"cluster.api-server.upstream_rq_{n}"] for n in ("active", "total"))
        return bool(active == 0 and total == self.recorder.total)


BARRIER_PATH = "/kubernetes/api/v1/namespaces/daypass/serviceaccounts/barrier/token"
_BARRIER_LINE = f"POST {BARRIER_PATH.removeprefix('/kubernetes')} HTTP/1.1"


@contextmanager
def running_door_env(
    folder: Path,
    *,
    change: Callable[[DoorSettings], DoorSettings] = replace,
    kind: type[Recorder] = Recorder,
) -> Iterator[DoorEnv]:
    """A recorder and a door in front of it, both of them all right; `change` alters the door's
    settings first.
    """
    authority = Authority()
    with (
        kind(authority, folder, (UPSTREAM_NAME,)) as recorder,
        running_door(
            folder, recorder.port, upstream_authority_pem=authority.pem, change=change
        ) as door,
    ):
        yield DoorEnv(door=door, recorder=recorder, authority=authority)


REASONS = {
    400: ("BadRequest", "malformed-request"),
    401: ("Unauthorized", "unauthorized"),
    403: ("Forbidden", "upgrade"),
    404: ("NotFound", "not-published"),
    405: ("MethodNotAllowed", "method-not-allowed"),
    408: ("Timeout", "request-timeout"),
    413: ("RequestEntityTooLarge", "too-large"),
    415: ("UnsupportedMediaType", "unsupported-media-type"),
    426: ("BadRequest", "http-version"),
    429: ("TooManyRequests", "too-many-requests"),
    431: ("RequestHeaderFieldsTooLarge", "headers-too-large"),
    501: ("NotImplemented", "transfer-encoding"),
    502: ("BadGateway", "bad-gateway"),
    503: ("ServiceUnavailable", "api-server-unreachable"),
    504: ("Timeout", "api-server-timeout"),
}
"""The reason in the door's Status, and in its header, by code."""
EXTRA_HEADERS = {
    401: {"www-authenticate": "Bearer"},
    405: {"allow": "GET, POST"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}
PUBLISHED = "/kubernetes/api/v1/namespaces/<namespace>/serviceaccounts/<name>/token"


def assert_refused(answer: Answer | Reply, code: int) -> None:
    """That an answer is the door's own, whole and exact: a Status with this code."""
    assert answer.code == code, (answer.code, answer.body)
    reason, header = REASONS[code]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server"] == "daypass"
    assert answer.headers[REASON_HEADER] == header
    special = {"www-authenticate", "allow", "retry-after", "location", "set-cookie"}
    told = {name: value for name, value in answer.headers.items() if name in special}
    assert told == EXTRA_HEADERS.get(code, {})
    message = answer.json["message"]
    assert answer.json == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }  # fmt: skip
    assert (PUBLISHED in message) == (code in (404, 405)), message


def post(
    path: str = PATH,
    *,
    host: str = EKF,
    method: str = "POST",
    headers: tuple[str, ...] = (f"Authorization: Bearer {JWT}", "Content-Type: application/json"),
    body: bytes = BODY,
    extra: tuple[str, ...] = (),
) -> bytes:
    """A TokenRequest as bytes, each part of which can be bent."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, *extra]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def http2_fields(*more: tuple[str, str], **pseudo: str | None) -> list[tuple[str, str]]:
    """The header block of a TokenRequest; a pseudo-header given as None is left out."""
    usual = {"method": "POST", "scheme": "https", "authority": EKF, "path": PATH}
    first = [(f":{name}", value) for name, value in {**usual, **pseudo}.items()]
    rest = [("authorization", f"Bearer {JWT}"), ("content-type", "application/json"), *more]
    return [(name, value) for name, value in first if value is not None] + rest


def send_http2(
    env: DoorEnv, block: Fields, body: bytes = BODY, *, trailers: Fields = ()
) -> tuple[Reply, tuple[Recorded, ...]]:
    with http2(env) as client:
        reply = client.request(block, body, trailers=trailers)
        return reply, env.arrived()


def http2(env: DoorEnv) -> Http2:
    return Http2(env.door.port, authority_pem=env.door.authority.pem, name=EKF)
