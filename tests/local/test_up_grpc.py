"""gRPC through the gate of `daypass up`: with a real server and a real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from daypass.integrations.grpc import channel_credentials
from daypass.local.stack import AUDIENCE, stack_config
from daypass.rules.reasons import MESSAGES, REASON_HEADER, Reason
from local.up_embedded import (
    admin_of,
    at_the_gate,
    checked_by,
    credentials_of,
    passed_by_the_gate,
)
from support.authority import Authority
from support.deadline import eventually
from support.grpc_service import CHAT, FAIL, REPEAT, SAY, GrpcService, running_grpc_service
from support.http_services import Handler, serving
from support.identities import Identity, make_identity, token_path
from support.unlimited_reviews import UNLIMITED
from support.up import Up

AUTHORITY = Authority("daypass test services")
REFUSALS = [str(reason) for reason in Reason]
"""The reasons of the gate's own refusals."""


@pytest.fixture
def service() -> Iterator[GrpcService]:
    with running_grpc_service(AUTHORITY.server("localhost")) as running:
        yield running


@contextmanager
def gate_before(folder: Path, upstream: str, check: str = "jwt") -> Iterator[Up]:
    """`daypass up` before something that shows a certificate of AUTHORITY, if any."""
    (folder / "authority.crt").write_text(AUTHORITY.pem)
    environment = {"SSL_CERT_FILE": str(folder / "authority.crt")}
    config = checked_by(check, stack_config(upstream=upstream))
    with Up(folder, config, environment, program=UNLIMITED) as up:
        yield up


@contextmanager
def calling(up: Up, identity: Identity) -> Iterator[grpc.Channel]:
    """A channel to the gate, with a token for each call; the gate knows its credential."""
    pem = up.authority_file.read_bytes()
    credentials = credentials_of(up, identity)
    token = credentials.token().value
    # Whatever a service for gRPC makes of such a request.
    eventually(
        "it passes", lambda: at_the_gate(up, token).headers.get(REASON_HEADER) not in REFUSALS
    )
    secure = channel_credentials(credentials, root_certificates=pem)
    with grpc.secure_channel(gate_of(up), secure) as channel:
        yield channel


def gate_of(up: Up) -> str:
    return f"localhost:{up.ready['listen']['gate'].rpartition(':')[2]}"


def say(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(SAY)


def unbound_token(up: Up, identity: Identity) -> str:
    path = token_path(identity.namespace, identity.service_account)
    made = admin_of(up).create(path, {"spec": {"audiences": [AUDIENCE]}})
    return str(made["status"]["token"])


WAYS: dict[str, Callable[[GrpcService], str]] = {
    "without TLS": lambda service: f"h2c://localhost:{service.plain_port}",
    "with TLS": lambda service: f"https://localhost:{service.port}",
}


@pytest.mark.parametrize(("way", "check"), [("without TLS", "jwt"), ("with TLS", "review")])
def test_calls_of_every_kind_pass_and_the_service_gets_the_caller(
    service: GrpcService, tmp_path: Path, way: str, check: str
) -> None:
    with gate_before(tmp_path, WAYS[way](service), check) as up:
        identity = make_identity(admin_of(up), "team")
        with calling(up, identity) as channel:
            forged = (("kubeflow-userid", "admin"), ("kubeflow_groups", "system:masters"))
            assert say(channel)(b"one", timeout=60, metadata=forged) == b"one"
            repeat: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(REPEAT)
            assert list(repeat(b"two", timeout=60)) == [b"two"] * 3
            chat: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(CHAT)
            words = [b"a", b"b", b"c" * 100_000]
            assert list(chat(iter(words), timeout=60)) == words
            fail: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(FAIL)
            with pytest.raises(grpc.RpcError) as failed:
                fail(b"", timeout=60)
            assert failed.value.code() is grpc.StatusCode.NOT_FOUND
            assert failed.value.details() == "there is no such thing"
    assert len(service.calls) == 4
    for call in service.calls:
        assert call["kubeflow-userid"] == identity.user
        assert "masters" not in str(call)
    assert service.tokens == [None] * 4


def test_refused_calls_get_a_grpc_status(service: GrpcService, tmp_path: Path) -> None:
    with gate_before(tmp_path, WAYS["without TLS"](service)) as up, ExitStack() as stack:
        pem = up.authority_file.read_bytes()
        credentials = grpc.ssl_channel_credentials(pem)
        channel = stack.enter_context(grpc.secure_channel(gate_of(up), credentials))
        identity = make_identity(admin_of(up), "team")
        lines = {
            "": (grpc.StatusCode.UNAUTHENTICATED, MESSAGES[Reason.NO_TOKEN]),
            identity.token.reveal(): (
                grpc.StatusCode.UNAUTHENTICATED, MESSAGES[Reason.LONG_LIVED],
            ),
            unbound_token(up, identity): (
                grpc.StatusCode.PERMISSION_DENIED, MESSAGES[Reason.UNBOUND],
            ),
        }  # fmt: skip
        for token, (code, words) in lines.items():
            sent = (("authorization", f"Bearer {token}"),) if token else ()
            with pytest.raises(grpc.RpcError) as refused:
                say(channel)(b"x", timeout=60, metadata=sent)
            assert refused.value.code() is code
            assert words in str(refused.value.details())
    assert service.calls == []


class Answering(Handler):
    """Says in which version of HTTP it was asked."""

    def do_GET(self) -> None:
        self.answer(200, json.dumps({"version": self.request_version}))


def test_a_tls_server_without_http2_is_reached_over_http1(tmp_path: Path) -> None:
    with (
        # It knows HTTP/1.1 alone, and offers nothing by ALPN.
        serving(Answering, context=AUTHORITY.server("localhost").context()) as port,
        gate_before(tmp_path, f"https://localhost:{port}") as up,
    ):
        identity = make_identity(admin_of(up), "team")
        answer = passed_by_the_gate(up, credentials_of(up, identity).token().value)
    assert (answer.code, answer.json) == (200, {"version": "HTTP/1.1"})
