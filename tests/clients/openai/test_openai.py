"""OpenAI's SDK for Python, and LangChain, which is built on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI

import daypass
import daypass.integrations.httpx
import daypass.integrations.httpx2
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity

pytestmark = pytest.mark.usefixtures("trusts_the_gate")

QUESTION = "hello there"
ANSWER = "hello there "

Ask = Callable[[], str]
"""Asks the model once, for a stream, and returns its answer."""


def asked() -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "stream": True}


def asks(client: OpenAI) -> Ask:
    def ask() -> str:
        return "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**asked())
        )

    return ask


def asks_async(client: AsyncOpenAI, loop: asyncio.Runner) -> Ask:
    async def ask() -> str:
        stream = await client.chat.completions.create(**asked())
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return lambda: loop.run(ask())


def asks_langchain(chat: ChatOpenAI) -> Ask:
    return lambda: "".join(str(chunk.content) for chunk in chat.stream(QUESTION))


def asks_langchain_async(chat: ChatOpenAI, loop: asyncio.Runner) -> Ask:
    async def ask() -> str:
        return "".join([str(chunk.content) async for chunk in chat.astream(QUESTION)])

    return lambda: loop.run(ask())


Way = Callable[[daypass.Credentials, str, asyncio.Runner], Ask]


def by_function(credentials: daypass.Credentials, url: str, loop: asyncio.Runner) -> Ask:
    return asks(OpenAI(base_url=url, api_key=credentials.bearer))


def by_function_async(credentials: daypass.Credentials, url: str, loop: asyncio.Runner) -> Ask:
    return asks_async(AsyncOpenAI(base_url=url, api_key=credentials.bearer_async), loop)


def by_langchain(credentials: daypass.Credentials, url: str, loop: asyncio.Runner) -> Ask:
    return asks_langchain(ChatOpenAI(base_url=url, api_key=credentials.bearer))


def by_langchain_async(credentials: daypass.Credentials, url: str, loop: asyncio.Runner) -> Ask:
    return asks_langchain_async(ChatOpenAI(base_url=url, api_key=credentials.bearer), loop)


def by_httpx2(credentials: daypass.Credentials, url: str, loop: asyncio.Runner) -> Ask:
    auth = daypass.integrations.httpx2.Auth(credentials, placeholder="unused")
    client = httpx2.Client(auth=auth)
    return asks(OpenAI(base_url=url, api_key="unused", http_client=client))


def by_httpx2_async(credentials: daypass.Credentials, url: str, loop: asyncio.Runner) -> Ask:
    auth = daypass.integrations.httpx2.Auth(credentials, placeholder="unused")
    client = httpx2.AsyncClient(auth=auth)
    return asks_async(AsyncOpenAI(base_url=url, api_key="unused", http_client=client), loop)


FUNCTION: list[Way] = [by_function, by_function_async, by_langchain, by_langchain_async]
"""The API key is a function, which the SDK calls before each request."""
AUTH: list[Way] = [by_httpx2, by_httpx2_async]
"""The adapter puts a token where the SDK puts a placeholder. ../litellm has httpx."""


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One for all: LangChain shares connections among its clients."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def ask(
    request: pytest.FixtureRequest, credentials: daypass.Credentials, gate: str,
    loop: asyncio.Runner,
) -> Ask:  # fmt: skip
    way: Way = request.param
    return way(credentials, f"{gate}/v1", loop)


every_way = pytest.mark.parametrize("ask", [*FUNCTION, *AUTH], indirect=True)
only_auth = pytest.mark.parametrize("ask", AUTH, indirect=True)
only_function = pytest.mark.parametrize("ask", FUNCTION, indirect=True)


def users(arrived: list[Arrival]) -> list[str | None]:
    return [each.user for each in arrived if each.path == "/v1/chat/completions"]


@every_way
def test_requests_pass_before_and_after_the_end_of_a_token(
    ask: Ask, daypass_identity: MadeIdentity, arrived: list[Arrival], expire: Callable[[], Token]
) -> None:
    assert ask() == ANSWER
    assert users(arrived) == [daypass_identity.user]
    expire()
    assert ask() == ANSWER
    assert users(arrived) == [daypass_identity.user]


@only_auth
def test_a_token_that_is_denied_in_use_is_renewed_by_the_adapter(
    ask: Ask, daypass_identity: MadeIdentity, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    assert ask() == ANSWER
    deny()
    assert ask() == ANSWER
    assert users(arrived) == [daypass_identity.user]


@only_function
def test_a_denied_token_of_the_function_is_the_users_to_renew(
    ask: Ask, credentials: daypass.Credentials, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    refused = deny()
    with pytest.raises(openai.AuthenticationError):
        ask()
    assert arrived == []
    credentials.renew(refused)
    assert ask() == ANSWER


@every_way
def test_a_refusal_shows_its_reason(
    ask: Ask, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(openai.AuthenticationError) as refused:
        ask()
    assert refused.value.response.headers["daypass-reason"] == "denied"
    assert "denied this token" in str(refused.value)
    assert arrived == []


def test_a_key_that_is_no_placeholder_is_not_replaced(
    credentials: daypass.Credentials,
    gate: str,
    arrived: list[Arrival],
    caplog: pytest.LogCaptureFixture,
) -> None:
    auth = daypass.integrations.httpx2.Auth(credentials, placeholder="unused")
    client = OpenAI(api_key="sk-other", base_url=gate, http_client=httpx2.Client(auth=auth))
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert "placeholder=" in caplog.text
    assert arrived == []
