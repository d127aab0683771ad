"""gRPC, sync and asyncio, against a real server of grpcio with TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest

import daypass
from daypass._core.jwt import decode_unverified
from daypass.integrations.grpc import call_credentials, channel_credentials
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.testing import MovableClock
from integrations.trust import Trust
from support.examples import run_example

SERVING = b"\x08\x01"
"""A HealthCheckResponse, encoded."""
METHOD, STREAM = "/tests.Echo/Say", "/tests.Echo/Repeat"


@dataclass(slots=True, kw_only=True)
class EchoServer:
    """A server that answers with what it was sent; `tokens`: what calls carried."""

    port: int = 0
    plain_port: int = 0
    tokens: list[str | None] = field(default_factory=list)

    def note(self, context: grpc.ServicerContext) -> None:
        """Remember the Authorization of a call."""
        metadata = {str(key): value for key, value in context.invocation_metadata()}
        value = metadata.get("authorization")
        self.tokens.append(None if value is None else str(value).removeprefix("Bearer "))


@pytest.fixture
def echo(trust: Trust) -> Iterator[EchoServer]:
    running = EchoServer()

    def say(request: bytes, context: grpc.ServicerContext) -> bytes:
        running.note(context)
        return request

    def repeat(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        running.note(context)
        yield from [request] * 3

    def check(_: bytes, context: grpc.ServicerContext) -> bytes:
        running.note(context)
        return SERVING

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    }
    certificate = trust.certificate
    pair = (certificate.key_pem.encode(), certificate.certificate_pem.encode())
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("tests.Echo", handlers),)
        )
        health: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Check": grpc.unary_unary_rpc_method_handler(check)
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),)
        )
        running.port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
        running.plain_port = server.add_insecure_port("localhost:0")
        server.start()
        yield running
        server.stop(None).wait()


def saying(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(METHOD)


def repeating(channel: grpc.Channel) -> grpc.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(STREAM)


@pytest.fixture
def secure(credentials: daypass.Credentials, trust: Trust) -> grpc.ChannelCredentials:
    return channel_credentials(credentials, root_certificates=trust.authority.pem.encode())


def test_every_call_carries_a_fresh_token(
    echo: EchoServer,
    secure: grpc.ChannelCredentials,
    credentials: daypass.Credentials,
    client_clock: MovableClock,
) -> None:
    before = credentials.token()
    with grpc.secure_channel(f"localhost:{echo.port}", secure) as channel:
        assert saying(channel)(b"one", timeout=30) == b"one"
        client_clock.move(3600)
        assert list(repeating(channel)(b"two", timeout=30)) == [b"two"] * 3
    after = credentials.token()
    assert echo.tokens == [before.value.reveal(), after.value.reveal()]
    assert before.value != after.value


def test_the_same_credentials_serve_asyncio(
    echo: EchoServer, secure: grpc.ChannelCredentials, credentials: daypass.Credentials
) -> None:
    async def call() -> list[bytes]:
        async with grpc.aio.secure_channel(f"localhost:{echo.port}", secure) as channel:
            say: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            return list(await asyncio.gather(*(say(b"x", timeout=30) for _ in range(5))))

    assert asyncio.run(call()) == [b"x"] * 5
    assert echo.tokens == [credentials.token().value.reveal()] * 5


def test_a_token_never_goes_over_a_channel_without_tls(
    echo: EchoServer, credentials: daypass.Credentials
) -> None:
    with (
        grpc.insecure_channel(f"localhost:{echo.plain_port}") as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        saying(channel)(b"x", timeout=30, credentials=call_credentials(credentials))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert echo.tokens == []


def test_a_server_that_is_not_trusted_gets_no_token(
    echo: EchoServer, credentials: daypass.Credentials, daypass_stack: LocalStack
) -> None:
    others = channel_credentials(
        credentials, root_certificates=daypass_stack.authority_file.read_bytes()
    )
    with (
        grpc.secure_channel(f"localhost:{echo.port}", others) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        saying(channel)(b"x", timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert echo.tokens == []


def test_where_no_token_is_to_be_had_the_call_ends_with_the_reason(
    echo: EchoServer, secure: grpc.ChannelCredentials, daypass_stack: LocalStack,
    daypass_identity: MadeIdentity, daypass_clock: MovableClock, client_clock: MovableClock,
) -> None:  # fmt: skip
    daypass_stack.revoke(daypass_identity)
    daypass_clock.move(11)
    client_clock.move(3600)
    with (
        grpc.secure_channel(f"localhost:{echo.port}", secure) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        saying(channel)(b"x", timeout=30)
    assert "the long-lived token" in str(refused.value.details())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert echo.tokens == []


def test_the_example_passes(echo: EchoServer, daypass_identity: MadeIdentity, trust: Trust) -> None:
    environment = {
        "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(trust.file),
    }
    said = run_example("with_grpc", f"localhost:{echo.port}", environment=environment)
    assert said == "serving\n"
    (token,) = echo.tokens
    assert token is not None
    assert decode_unverified(token)[1]["sub"] == daypass_identity.user
