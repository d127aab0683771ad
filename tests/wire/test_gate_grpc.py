"""gRPC's own client through the gate, sync and asyncio, with its credentials on each call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest

import daypass
from daypass._core.clock import SYSTEM_CLOCK, utc
from daypass.client.config import CredentialsConfig
from daypass.client.http1 import HttpRequest
from daypass.config import Address
from daypass.integrations.grpc import channel_credentials
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.settings import Protected
from daypass.render.envoy.upstream import PROTECTED
from support.authority import Authority
from support.deadline import eventually
from support.doors import EKF
from support.exchanges import FakeSend
from support.fake_door import credentials_document, token_answer
from support.gates import NOBODY, RunningGate, running_gate
from support.grpc_service import REPEAT, SAY, GrpcService, running_grpc_service
from support.tokens import USER, Signer, good_claims

SIGNER = Signer("ours")


@pytest.fixture(scope="module")
def behind() -> Iterator[GrpcService]:
    with running_grpc_service(Authority().server("localhost")) as running:
        yield running


@pytest.fixture(scope="module")
def shared_gate(
    tmp_path_factory: pytest.TempPathFactory, behind: GrpcService
) -> Iterator[RunningGate]:
    protected = Protected(address=Address(host="127.0.0.1", port=behind.plain_port))
    with running_gate(
        tmp_path_factory.mktemp("gate"), SIGNER.jwks, longest_lifetime_seconds=7200,
        protected=protected, change=speak_http2_behind,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def gate(shared_gate: RunningGate, behind: GrpcService) -> Iterator[RunningGate]:
    behind.calls.clear()
    yield shared_gate
    shared_gate.revoke(NOBODY)


def speak_http2_behind(files: dict[str, Json]) -> None:
    """What is guarded here speaks gRPC, so HTTP/2."""
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    resources = [r for file in files.values() for r in cast("Any", file).get("resources", ())]
    (cluster,) = [found for found in resources if found.get("name") == PROTECTED]
    cluster["typed_extension_protocol_options"] = {
        options: {
            "@type": f"type.googleapis.com/{options}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }


def credentials_of(**changes: Any) -> daypass.Credentials:
    """Credentials whose door grants tokens that this gate knows the key of."""

    def door(_: HttpRequest) -> bytes:
        now = int(SYSTEM_CLOCK.unix())
        expires = f"{utc(now + 3000):%Y-%m-%dT%H:%M:%SZ}"
        status = {"token": SIGNER.sign(good_claims(**changes)), "expirationTimestamp": expires}
        return token_answer(now=now, date=now, status=status)

    now = SYSTEM_CLOCK.unix()
    document = credentials_document("http://127.0.0.1:1/kubernetes")
    settings = CredentialsConfig(document, origin="test.json", now_unix=now)
    return daypass.Credentials(settings, send=FakeSend(door))


def channel_of(gate: RunningGate, credentials: daypass.Credentials) -> tuple[str, Any, Any]:
    """What a channel through the gate is made of: target, credentials, options."""
    roots = gate.authority.pem.encode()
    secure = channel_credentials(credentials, root_certificates=roots)
    named = (("grpc.ssl_target_name_override", EKF), ("grpc.default_authority", EKF))
    return f"127.0.0.1:{gate.port}", secure, named


Call = Callable[[RunningGate, daypass.Credentials], list[bytes]]


def call(gate: RunningGate, credentials: daypass.Credentials) -> list[bytes]:
    """One call and a stream, sync."""
    with grpc.secure_channel(*channel_of(gate, credentials)) as channel:
        say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SAY)
        repeat: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(REPEAT)
        return [say(b"one", timeout=60), *repeat(b"two", timeout=60)]


def call_by_asyncio(gate: RunningGate, credentials: daypass.Credentials) -> list[bytes]:
    async def calls() -> list[bytes]:
        async with grpc.aio.secure_channel(*channel_of(gate, credentials)) as channel:
            say: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SAY)
            repeat: Any = channel.unary_stream(REPEAT)
            return [await say(b"one", timeout=60), *[x async for x in repeat(b"two", timeout=60)]]

    return asyncio.run(calls())


both = pytest.mark.parametrize("calls", [call, call_by_asyncio], ids=["sync", "aio"])


@both
def test_calls_and_streams_pass_the_gate_and_arrive_with_the_callers_name(
    gate: RunningGate, behind: GrpcService, calls: Call
) -> None:
    assert calls(gate, credentials_of()) == [b"one", b"two", b"two", b"two"]
    assert [arrived["kubeflow-userid"] for arrived in behind.calls] == [USER] * 2
    assert ["authorization" in arrived for arrived in behind.calls] == [False] * 2


@both
@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": ["another"]}, grpc.StatusCode.PERMISSION_DENIED),
        ({"exp": 1}, grpc.StatusCode.UNAUTHENTICATED),
        ({"kubernetes.io": {"namespace": "team"}}, grpc.StatusCode.PERMISSION_DENIED),
    ],
    ids=["audience", "expired", "unbound"],
)
def test_a_call_with_a_token_that_is_refused_ends_with_the_code_and_the_reason(
    gate: RunningGate,
    behind: GrpcService,
    calls: Call,
    claims: dict[str, Any],
    code: grpc.StatusCode,
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        calls(gate, credentials_of(**claims))
    assert refused.value.code() is code
    assert '"kind":"Status"' in str(refused.value.details())
    assert behind.calls == []


@both
def test_a_call_with_a_revoked_token_ends_unauthenticated_and_others_pass(
    gate: RunningGate, behind: GrpcService, calls: Call
) -> None:
    gate.revoke(RevocationSnapshot(tokens={"j-2"}))

    def refused() -> bool:
        try:
            calls(gate, credentials_of(jti="j-2"))
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    eventually("the revoked token is refused", refused)
    behind.calls.clear()
    assert calls(gate, credentials_of(jti="j-3"))[0] == b"one"
    assert len(behind.calls) == 2
