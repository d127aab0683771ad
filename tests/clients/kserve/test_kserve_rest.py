"""KServe's REST client, to its model server behind the gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig

import daypass
import daypass.integrations.httpx
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity

pytestmark = pytest.mark.usefixtures("trusts_the_gate")

LARGE = 1 << 20
"""Numbers: 8 MiB, which are sent and come back. KServe takes seconds for ten times as many."""
DENIED = "denied"
"""A word of the gate's message."""

Ask = Callable[[InferenceRESTClient], Awaitable[Any]]


@pytest.fixture
def ask(credentials: daypass.Credentials) -> Callable[[Ask], Any]:
    """`ask(lambda client: client.infer(...))`: what the client returns, or raises."""

    async def run(question: Ask) -> Any:
        config = RESTConfig(protocol="v2", auth=daypass.integrations.httpx.Auth(credentials))
        async with InferenceRESTClient(config) as client:
            return await question(client)

    return lambda question: asyncio.run(run(question))


def tensor(count: int) -> InferRequest:
    given = InferInput("given", [count], "FP64")
    given.set_data_from_numpy(numpy.arange(count, dtype=numpy.float64))
    return InferRequest("double", [given])


def last(response: InferResponse) -> float:
    return float(response.outputs[0].as_numpy()[-1])


def test_it_infers_with_a_fresh_token_across_the_end_of_one(
    ask: Callable[[Ask], Any], gate: str, arrived: list[Arrival],
    daypass_identity: MadeIdentity, expire: Callable[[], Token],
) -> None:  # fmt: skip
    assert last(ask(lambda client: client.infer(gate, tensor(4), "double"))) == 6
    expire()
    assert last(ask(lambda client: client.infer(gate, tensor(5), "double"))) == 8
    assert [(each.path, each.user) for each in arrived] == [
        ("/v2/models/double/infer", daypass_identity.user)
    ]


def test_a_large_tensor_is_sent_again_with_another_token_after_a_denial(
    ask: Callable[[Ask], Any], gate: str, arrived: list[Arrival], deny: Callable[..., Token],
) -> None:  # fmt: skip
    deny()
    answer = ask(lambda client: client.infer(gate, tensor(LARGE), "double"))
    assert last(answer) == 2 * (LARGE - 1)
    assert [each.path for each in arrived] == ["/v2/models/double/infer"]


def test_a_refusal_is_raised_with_the_gates_message(
    ask: Callable[[Ask], Any], gate: str, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(httpx.HTTPStatusError, match=DENIED) as refused:
        ask(lambda client: client.infer(gate, tensor(4), "double"))
    assert refused.value.response.status_code == 401
    assert arrived == []
