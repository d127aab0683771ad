"""tritonclient over gRPC, with asyncio too, to servers behind the gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

import daypass
import daypass.integrations.grpc
import daypass.testing
from clients.tritonclient.conftest import register
from daypass.client.token import Token
from daypass.local.stack import LocalStack, MadeIdentity

DENIED = "denied"
"""A word of the gate's message."""

Ask = Callable[..., Any]
Calls = Callable[[], list[dict[str, str]]]


@pytest.fixture(scope="session")
def daypass_stack(server: str, grpc_port: int) -> Iterator[LocalStack]:
    """A gate in front of the server's gRPC."""
    with daypass.testing.stack(upstream=f"h2c://127.0.0.1:{grpc_port}") as running:
        yield running


@pytest.fixture(autouse=True)
def _trusts_the_gate(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC reads it once."""
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", authority)


@pytest.fixture(params=["plugin", "plugin, aio", "creds", "creds, aio"])
def ask(
    request: pytest.FixtureRequest, credentials: daypass.Credentials, host: str, authority: str
) -> Ask:
    """`ask("infer", ...)`: what this method of either client returns, or raises.

    The clients have a plugin, or channel credentials.
    """
    secure = daypass.integrations.grpc.channel_credentials(credentials)

    def connect(module: Any) -> Any:
        if request.param.startswith("creds"):
            return module.InferenceServerClient(host, creds=secure)
        client = module.InferenceServerClient(host, ssl=True, root_certificates=authority)
        register(client, credentials)
        return client

    def with_grpc(method: str, *arguments: Any, **options: Any) -> Any:
        with connect(tritonclient.grpc) as client:
            return getattr(client, method)(*arguments, **options)

    async def with_aio(method: str, *arguments: Any, **options: Any) -> Any:
        async with connect(tritonclient.grpc.aio) as client:
            return await getattr(client, method)(*arguments, **options)

    if "aio" not in request.param:
        return with_grpc
    return lambda *arguments, **options: asyncio.run(with_aio(*arguments, **options))


def tensor(count: int) -> list[tritonclient.grpc.InferInput]:
    given = tritonclient.grpc.InferInput("given", [count], "FP64")
    given.set_data_from_numpy(numpy.arange(count, dtype=numpy.float64))
    return [given]


def last(result: tritonclient.grpc.InferResult) -> float:
    return float(result.as_numpy("doubled")[-1])


def test_it_infers_with_a_fresh_token_across_the_end_of_one(
    ask: Ask, calls: Calls, daypass_identity: MadeIdentity, expire: Callable[[], Token]
) -> None:
    headers = {"x-experiment": "7"}
    assert last(ask("infer", "double", tensor(4), headers=headers)) == 6
    expire()
    assert last(ask("infer", "double", tensor(5), headers=headers)) == 8
    assert headers == {"x-experiment": "7"}
    assert [call["kubeflow-userid"] for call in calls()] == [daypass_identity.user] * 2
    assert [call["x-experiment"] for call in calls()] == ["7"] * 2
    assert not any("authorization" in call for call in calls())


def test_a_refusal_is_raised_with_the_gates_message(
    ask: Ask, calls: Calls, deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(InferenceServerException, match=DENIED) as refused:
        ask("infer", "double", tensor(4))
    assert refused.value.status() == "StatusCode.UNAUTHENTICATED"
    assert calls() == []


def test_after_a_denial_the_next_token_passes(
    ask: Ask, credentials: daypass.Credentials, deny: Callable[..., Token]
) -> None:
    """gRPC and plugins do not see the refusal, so the caller renews the token."""
    refused = deny()
    with pytest.raises(InferenceServerException, match=DENIED):
        ask("infer", "double", tensor(4))
    credentials.renew(refused)
    assert last(ask("infer", "double", tensor(4))) == 6


def test_a_client_without_tls_reaches_no_gate(
    credentials: daypass.Credentials, host: str, calls: Calls
) -> None:
    """gRPC sends a call, and so the token, only after the server's first frame."""
    with tritonclient.grpc.InferenceServerClient(host) as client:
        register(client, credentials)
        with pytest.raises(InferenceServerException) as refused:
            client.infer("double", tensor(4), client_timeout=30)
    assert refused.value.status() == "StatusCode.UNAVAILABLE"
    assert calls() == []
