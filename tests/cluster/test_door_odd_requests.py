"""Bodies and upgrades that ask the real API server, through the door, for more than the path."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator

import pytest

from cluster.protobuf import MAGIC, PROTOBUF, bound_to, field, varint, wrapped
from daypass._core.jwt import decode_unverified
from support.admin import Document
from support.controlplane import ControlPlane
from support.doors import http2_fields, post
from support.h2c import Http2
from support.identities import Identity, allow_token_requests
from support.raw import Answer
from support.up import HOST, Up

AUDIENCE = "gate.example.com"


@pytest.fixture(scope="module")
def bot(control_plane: ControlPlane) -> Identity:
    """It may also make tokens of another ServiceAccount in its namespace."""
    made = control_plane.make_identity()
    control_plane.make_identity(made.namespace, "other", authorize=False)
    allow_token_requests(control_plane.admin, made.namespace, "bot", ["other"])
    return made


def spec(bot: Identity, *more: bytes) -> bytes:
    return field(1, AUDIENCE) + bound_to(bot.secret_name) + field(4, 3600) + b"".join(more)


def request(bot: Identity, *, metadata: bytes = b"", more: bytes = b"") -> bytes:
    return field(1, metadata) + field(2, spec(bot)) + more


def bodies(bot: Identity) -> Iterator[tuple[str, bytes]]:
    """Those that name something else than the path, or are something else."""
    good = request(bot)
    for name, number, value in (
        ("name", 1, "other"), ("generateName", 2, "other"), ("namespace", 3, "kube-system"),
    ):  # fmt: skip
        yield f"another {name}", wrapped(request(bot, metadata=field(number, value)))
        twice = field(number, bot.service_account) + field(number, value)
        yield f"{name} twice", wrapped(request(bot, metadata=twice))
    yield "metadata twice", wrapped(request(bot, more=field(1, field(1, "other"))))
    kinds = ("Secret", "Pod", "ServiceAccount", "List", "Status", "Namespace", "DeleteOptions",
             "Eviction", "Scale")  # fmt: skip
    for kind in kinds:
        yield f"a {kind}", wrapped(good, "v1", kind)
    for version, kind in (
        ("authentication.k8s.io/v1", "TokenReview"), ("authentication.k8s.io/v1", ""),
        ("authentication.k8s.io/v1", "SelfSubjectReview"), ("", "TokenRequest"),
        ("authentication.k8s.io/v1beta1", "TokenRequest"), ("v1", "TokenRequest"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"), ("", ""),
        ("../../api/v1", "Secret"), ("authentication.k8s.io/__internal", "TokenRequest"),
    ):  # fmt: skip
        yield f"{kind} of {version}", wrapped(good, version, kind)
    yield "a wrapper in the wrapper", wrapped(wrapped(good))
    yield "two wrappers", wrapped(good) + wrapped(good, "v1", "Secret")
    yield "the kind twice", wrapped(good, more=field(1, field(1, "v1") + field(2, "Secret")))
    other = request(bot, metadata=field(1, "other"))
    yield "the object twice", wrapped(good, more=field(2, other))
    yield "JSON inside", wrapped(b'{"spec": {}}', more=field(4, "application/json"))
    yield "gzip inside", wrapped(gzip.compress(good), more=field(3, "gzip"))
    yield "no magic", wrapped(good)[4:]
    yield "the magic twice", MAGIC + wrapped(good)
    yield "the magic alone", MAGIC
    yield "nothing", b""
    yield "cut", wrapped(good)[:-3]
    yield "a length beyond the end", MAGIC + b"\x12\xff\xff\xff\xff\x0f"
    yield "a negative length", MAGIC + b"\x12" + varint(2**64 - 1)
    yield "a long varint", MAGIC + b"\x12" + b"\xff" * 20
    yield "a group that never ends", wrapped(good + b"\x0b" * 500)
    yield "unknown fields", wrapped(good + field(99, "x") + field(2**28, 1))
    yield "a status of its own", wrapped(request(bot, more=field(3, field(1, "a.b.c"))))
    yield "3,000 audiences", wrapped(field(2, spec(bot, field(1, "") * 3000)))
    yield "a lifetime below 0", wrapped(field(2, spec(bot, field(4, -1))))
    yield "an endless lifetime", wrapped(field(2, spec(bot, field(4, 2**63 - 1))))
    yield "JSON", json.dumps({"spec": {"audiences": [AUDIENCE]}}).encode()
    yield "YAML", b"spec: {audiences: [x]}"


HARMLESS = {
    "another generateName", "generateName twice", " of authentication.k8s.io/v1", " of ",
    "TokenRequest of ", "unknown fields", "a status of its own", "3,000 audiences",
}  # fmt: skip
"""Those that the API server takes for what the path asks for."""


def send(up: Up, bot: Identity, body: bytes, content_type: str) -> Answer:
    bearer = f"Authorization: Bearer {bot.token.reveal()}"
    headers = (bearer, f"Content-Type: {content_type}")
    path = f"/kubernetes{bot.token_path}"
    return up.send(post(path, host=HOST, headers=headers, body=body))


def assert_only_its_own(answer: Answer, bot: Identity, name: str) -> None:
    """A refusal, or a token of the ServiceAccount in the path; nothing else was made."""
    if answer.code != 201:
        assert 400 <= answer.code < 500, (name, answer)
        return
    token = answer.body.split(b"eyJ", 1)[1].split(b'"')[0] if b"eyJ" in answer.body else b""
    text = "eyJ" + token.decode("latin-1").split("\x18")[0]
    claims = decode_unverified(text.strip())[1]
    assert claims["sub"] == bot.user, name
    assert claims["kubernetes.io"]["namespace"] == bot.namespace, name
    assert claims["exp"] - claims["iat"] <= 86_400, name


def test_a_protobuf_body_gets_no_more_than_the_path(up: Up, bot: Identity) -> None:
    good = send(up, bot, wrapped(request(bot)), f"{PROTOBUF}")
    assert good.code == 201, good
    codes = {}
    for name, body in bodies(bot):
        answer = send(up, bot, body, PROTOBUF)
        codes[name] = answer.code
        assert_only_its_own(answer, bot, name)
    assert codes["another name"] == 422
    assert codes["another namespace"] == 400
    assert {name for name, code in codes.items() if code == 201} == HARMLESS


def test_protobuf_that_is_called_json_is_refused(up: Up, bot: Identity) -> None:
    for name, body in bodies(bot):
        if name not in ("JSON", "YAML", "nothing"):
            assert send(up, bot, body, "application/json").code == 400, name


def test_json_gets_no_more_than_the_path(up: Up, bot: Identity) -> None:
    for metadata in ({"name": "other"}, {"namespace": "kube-system"}):
        body = json.dumps({"metadata": metadata, "spec": {"audiences": [AUDIENCE]}}).encode()
        assert send(up, bot, body, "application/json").code in (400, 422), metadata
    for kind in ("Secret", "TokenReview", "List"):
        body = json.dumps({"apiVersion": "v1", "kind": kind, "spec": {}}).encode()
        assert send(up, bot, body, "application/json").code == 400, kind


def arrived(up: Up, bot: Identity, plane: ControlPlane, since: int) -> list[Document]:
    """The requests about its ServiceAccount that the API server had before one that is good."""
    assert send(up, bot, wrapped(request(bot)), PROTOBUF).code == 201
    events = plane.whole_audit_log(since=since)
    *before, good = [e for e in events if e["requestURI"].startswith(bot.token_path)]
    assert good["responseStatus"]["code"] == 201
    return before


def upgrade(bot: Identity, *, method: str, header: bool) -> bytes:
    encoded = base64.urlsafe_b64encode(bot.token.reveal().encode()).rstrip(b"=").decode()
    protocols = f"base64url.bearer.authorization.k8s.io.{encoded}, v4.channel.k8s.io"
    lines = [
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==", f"Sec-WebSocket-Protocol: {protocols}",
    ]  # fmt: skip
    if header:
        lines.append(f"Authorization: Bearer {bot.token.reveal()}")
    path = f"/kubernetes{bot.token_path}"
    return post(path, host=HOST, method=method, headers=(), body=b"", extra=tuple(lines))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_web_socket_reaches_the_token_api(
    up: Up, bot: Identity, control_plane: ControlPlane, method: str, header: bool
) -> None:
    since = control_plane.audit_position()
    answer = up.send(upgrade(bot, method=method, header=header))
    assert (answer.code, answer.json["kind"]) == (403, "Status")
    assert arrived(up, bot, control_plane, since) == []


def test_no_extended_connect_reaches_the_token_api(
    up: Up, bot: Identity, control_plane: ControlPlane
) -> None:
    path = f"/kubernetes{bot.token_path}"
    usual = http2_fields(authority=HOST, path=path)[:4]
    bearer = ("authorization", f"Bearer {bot.token.reveal()}")
    blocks = (
        [(":method", "CONNECT"), (":protocol", "websocket"), *usual[1:], bearer],
        [*usual[:1], (":protocol", "websocket"), *usual[1:], bearer],
        [(":method", "CONNECT"), (":authority", HOST), bearer],
    )
    since = control_plane.audit_position()
    for block in blocks:
        with Http2(up.port, authority_pem=up.authority_file.read_text(), name=HOST) as client:
            reply = client.request(block, b"")
            assert reply.ended_by_door or reply.code in (403, 404), (block, reply)
    assert arrived(up, bot, control_plane, since) == []
