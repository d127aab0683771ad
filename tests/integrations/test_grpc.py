"""gRPC, sync and asyncio, against a real server of grpcio with TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest

import daypass
from daypass._core.jwt import decode_unverified
from daypass.integrations.grpc import call_credentials, channel_credentials, metadata
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.testing import MovableClock
from integrations.trust import Trust
from support.examples import run_example
from support.grpc_service import REPEAT, SAY, GrpcService, running_grpc_service


@pytest.fixture
def echo(trust: Trust) -> Iterator[GrpcService]:
    with running_grpc_service(trust.certificate) as running:
        yield running


def saying(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(SAY)


def repeating(channel: grpc.Channel) -> grpc.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(REPEAT)


@pytest.fixture
def secure(credentials: daypass.Credentials, trust: Trust) -> grpc.ChannelCredentials:
    return channel_credentials(credentials, root_certificates=trust.authority.pem.encode())


def test_every_call_carries_a_fresh_token(
    echo: GrpcService, secure: grpc.ChannelCredentials, credentials: daypass.Credentials,
    client_clock: MovableClock,
) -> None:  # fmt: skip
    before = credentials.token()
    with grpc.secure_channel(f"localhost:{echo.port}", secure) as channel:
        assert saying(channel)(b"one", timeout=30) == b"one"
        client_clock.move(3600)
        assert list(repeating(channel)(b"two", timeout=30)) == [b"two"] * 3
    after = credentials.token()
    assert echo.tokens == [before.value.reveal(), after.value.reveal()]
    assert before.value != after.value


def test_the_same_credentials_serve_asyncio(
    echo: GrpcService, secure: grpc.ChannelCredentials, credentials: daypass.Credentials
) -> None:
    async def call() -> list[bytes]:
        async with grpc.aio.secure_channel(f"localhost:{echo.port}", secure) as channel:
            say: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SAY)
            return list(await asyncio.gather(*(say(b"x", timeout=30) for _ in range(5))))

    assert asyncio.run(call()) == [b"x"] * 5
    assert echo.tokens == [credentials.token().value.reveal()] * 5


def test_the_metadata_of_one_call_is_a_token_that_is_fresh_then(
    echo: GrpcService, credentials: daypass.Credentials, trust: Trust, client_clock: MovableClock
) -> None:
    tls = grpc.ssl_channel_credentials(trust.authority.pem.encode())
    before = credentials.token()
    with grpc.secure_channel(f"localhost:{echo.port}", tls) as channel:
        assert saying(channel)(b"one", metadata=metadata(credentials), timeout=30) == b"one"
        client_clock.move(3600)
        assert saying(channel)(b"two", metadata=metadata(credentials), timeout=30) == b"two"
    after = credentials.token()
    assert echo.tokens == [before.value.reveal(), after.value.reveal()]
    assert before.value != after.value


def test_metadata_that_a_verbose_client_prints_shows_no_token(
    credentials: daypass.Credentials,
) -> None:
    assert "Bearer ***" in repr(metadata(credentials))


def test_a_token_never_goes_over_a_channel_without_tls(
    echo: GrpcService, credentials: daypass.Credentials
) -> None:
    with (
        grpc.insecure_channel(f"localhost:{echo.plain_port}") as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        saying(channel)(b"x", timeout=30, credentials=call_credentials(credentials))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert echo.tokens == []


def test_an_untrusted_server_gets_no_token(
    echo: GrpcService, credentials: daypass.Credentials, daypass_stack: LocalStack
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


def test_a_call_without_a_token_fails_with_the_reason(
    echo: GrpcService, secure: grpc.ChannelCredentials, daypass_stack: LocalStack,
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
    assert "401" in str(refused.value.details())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert echo.tokens == []


def test_the_example_passes(
    echo: GrpcService, daypass_identity: MadeIdentity, trust: Trust
) -> None:
    environment = {
        "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(trust.file),
    }
    said = run_example("with_grpc", f"localhost:{echo.port}", environment=environment)
    assert said == "serving\n"
    (token,) = echo.tokens
    assert token is not None
    assert decode_unverified(token)[1]["sub"] == daypass_identity.user
