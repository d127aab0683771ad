"""gRPC through the gate of `daypass up` to a server with TLS; tests/clients has more of gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from daypass.integrations.grpc import channel_credentials
from daypass.local.stack import stack_config
from daypass.rules.reasons import REASON_HEADER, Reason
from local.up_embedded import (
    admin_of,
    at_the_gate,
    checked_by,
    credentials_of,
    passed_by_the_gate,
)
from support.authority import Authority
from support.deadline import eventually
from support.grpc_service import FAIL, REPEAT, SAY, running_grpc_service
from support.http_services import Handler, serving
from support.identities import make_identity
from support.unlimited_reviews import UNLIMITED
from support.up import Up

AUTHORITY = Authority("daypass test services")
REFUSALS = [str(reason) for reason in Reason]
"""The reasons of the gate's own refusals."""


@contextmanager
def gate_before(folder: Path, port: int, check: str) -> Iterator[Up]:
    """`daypass up` before a server on this port that shows a certificate of AUTHORITY."""
    (folder / "authority.crt").write_text(AUTHORITY.pem)
    environment = {"SSL_CERT_FILE": str(folder / "authority.crt")}
    config = checked_by(check, stack_config(upstream=f"https://localhost:{port}"))
    with Up(folder, config, environment, program=UNLIMITED) as up:
        yield up


def test_calls_and_errors_pass_and_the_service_gets_the_caller(tmp_path: Path) -> None:
    with (
        running_grpc_service(AUTHORITY.server("localhost")) as service,
        gate_before(tmp_path, service.port, "review") as up,
    ):
        identity = make_identity(admin_of(up), "team")
        credentials = credentials_of(up, identity)
        token = credentials.token().value
        # Whatever a service for gRPC makes of such a request.
        eventually(
            "it passes", lambda: at_the_gate(up, token).headers.get(REASON_HEADER) not in REFUSALS
        )
        gate = up.ready["listen"]["gate"].replace("127.0.0.1", "localhost")
        secure = channel_credentials(credentials, root_certificates=up.authority_file.read_bytes())
        with grpc.secure_channel(gate, secure) as channel:
            forged = (("kubeflow-userid", "admin"), ("kubeflow_groups", "system:masters"))
            say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SAY)
            assert say(b"one", timeout=60, metadata=forged) == b"one"
            repeat: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(REPEAT)
            assert list(repeat(b"two", timeout=60)) == [b"two"] * 3
            fail: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(FAIL)
            with pytest.raises(grpc.RpcError) as failed:
                fail(b"", timeout=60)
            assert failed.value.code() is grpc.StatusCode.NOT_FOUND
            assert failed.value.details() == "there is no such thing"
    assert len(service.calls) == 3
    for call in service.calls:
        assert call["kubeflow-userid"] == identity.user
        assert "masters" not in str(call)
    assert service.tokens == [None] * 3


class Answering(Handler):
    """Says in which version of HTTP it was asked."""

    def do_GET(self) -> None:
        self.answer(200, json.dumps({"version": self.request_version}))


def test_a_tls_server_without_http2_is_reached_over_http1(tmp_path: Path) -> None:
    with (
        # It knows HTTP/1.1 alone, and offers nothing by ALPN.
        serving(Answering, context=AUTHORITY.server("localhost").context()) as port,
        gate_before(tmp_path, port, "jwt") as up,
    ):
        identity = make_identity(admin_of(up), "team")
        answer = passed_by_the_gate(up, credentials_of(up, identity).token().value)
    assert (answer.code, answer.json) == (200, {"version": "HTTP/1.1"})
