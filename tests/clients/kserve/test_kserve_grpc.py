"""KServe's gRPC client, to its model server behind the gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import numpy
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest, InferResponse

import daypass
import daypass.integrations.grpc
import daypass.testing
from daypass.client.token import Token
from daypass.local.stack import LocalStack, MadeIdentity

DENIED = "denied"
"""A word of the gate's message."""

Ask = Callable[[InferenceGRPCClient], Awaitable[Any]]


@pytest.fixture(scope="session")
def daypass_stack(server: str, grpc_port: int) -> Iterator[LocalStack]:
    """A gate in front of the server's gRPC."""
    with daypass.testing.stack(upstream=f"h2c://127.0.0.1:{grpc_port}") as running:
        yield running


@pytest.fixture(autouse=True)
def _trusts_the_gate(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC reads it once."""
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", authority)


@pytest.fixture
def ask(credentials: daypass.Credentials, host: str) -> Callable[[Ask], Any]:
    """`ask(lambda client: client.infer(...))`: what the client returns, or raises."""
    secure = daypass.integrations.grpc.channel_credentials(credentials)

    async def run(question: Ask) -> Any:
        async with InferenceGRPCClient(host, creds=secure) as client:
            return await question(client)

    return lambda question: asyncio.run(run(question))


def tensor(count: int) -> InferRequest:
    given = InferInput("given", [count], "FP64")
    given.set_data_from_numpy(numpy.arange(count, dtype=numpy.float64))
    return InferRequest("double", [given])


Calls = Callable[[], list[dict[str, str]]]


def last(response: InferResponse) -> float:
    return float(response.outputs[0].as_numpy()[-1])


def test_it_infers_with_a_fresh_token_across_the_end_of_one(
    ask: Callable[[Ask], Any], calls: Calls, daypass_identity: MadeIdentity,
    expire: Callable[[], Token],
) -> None:  # fmt: skip
    assert last(ask(lambda client: client.infer(tensor(4)))) == 6
    expire()
    assert last(ask(lambda client: client.infer(tensor(5)))) == 8
    assert [call["kubeflow-userid"] for call in calls()] == [daypass_identity.user] * 2
    assert not any("authorization" in call for call in calls())


def test_a_refusal_is_raised_with_the_gates_message(
    ask: Callable[[Ask], Any], calls: Calls, deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(grpc.RpcError) as refused:
        ask(lambda client: client.infer(tensor(4)))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert DENIED in refused.value.details()
    assert calls() == []


def test_after_a_denial_the_next_token_passes(
    ask: Callable[[Ask], Any], credentials: daypass.Credentials, deny: Callable[..., Token]
) -> None:
    """gRPC does not report the refusal to the credentials, so the caller renews the token."""
    refused = deny()
    with pytest.raises(grpc.RpcError):
        ask(lambda client: client.infer(tensor(4)))
    credentials.renew(refused)
    assert last(ask(lambda client: client.infer(tensor(4)))) == 6
