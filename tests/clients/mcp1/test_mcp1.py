"""MCP's SDK 1.x for Python, and what stands on it, to a server behind the gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from agents.mcp import MCPServerStreamableHttp
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

import daypass
import daypass.integrations.httpx
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("trusts_the_gate"),
    pytest.mark.filterwarnings("ignore:Use `streamable_http_client`:DeprecationWarning"),
]

Tool = Callable[..., Awaitable[Any]]
"""`await tool("add", first=2, second=3)` calls a tool of the server."""
REFUSED = "the gate refused POST https://localhost"
Connect = Callable[[str, daypass.Credentials], AbstractAsyncContextManager[Tool]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def sdk(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/mcp"
    http_client = httpx.AsyncClient(auth=daypass.integrations.httpx.Auth(credentials), timeout=300)
    transport = streamable_http_client(url, http_client=http_client)
    async with http_client, of_the_sdk(transport) as tool:
        yield tool


@asynccontextmanager
async def sdk_sse(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/sse"
    transport = sse_client(url, auth=daypass.integrations.httpx.Auth(credentials))
    async with of_the_sdk(transport) as tool:
        yield tool


@asynccontextmanager
async def of_the_sdk(transport: Any) -> AsyncIterator[Tool]:
    async with transport as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()

        async def tool(name: str, timeout: float = 30, **arguments: int) -> Any:
            done = await session.call_tool(
                name, arguments, read_timeout_seconds=timedelta(seconds=timeout)
            )
            assert done.structuredContent is not None
            return done.structuredContent["result"]

        yield tool


@asynccontextmanager
async def langchain(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/mcp"
    server = {
        "transport": "streamable_http", "url": url,
        "auth": daypass.integrations.httpx.Auth(credentials),
    }  # fmt: skip
    tools = {each.name: each for each in await MultiServerMCPClient({"tools": server}).get_tools()}

    async def tool(name: str, **arguments: int) -> int:
        (content,) = await tools[name].ainvoke(arguments)
        return int(content["text"])

    yield tool


@asynccontextmanager
async def agents(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/mcp"
    auth = daypass.integrations.httpx.Auth(credentials)
    async with MCPServerStreamableHttp(params={"url": url, "auth": auth}) as server:

        async def tool(name: str, **arguments: int) -> Any:
            done = await server.call_tool(name, arguments)
            assert done.structuredContent is not None
            return done.structuredContent["result"]

        yield tool


@pytest.fixture(params=[sdk, sdk_sse, langchain, agents], ids=lambda each: each.__name__)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Each client, with each transport."""
    way: Connect = request.param
    return way


@pytest.mark.parametrize("how", ["expire", "deny"])
async def test_a_client_outlives_its_tokens(
    connect: Connect, gate: str, credentials: daypass.Credentials, arrived: list[Arrival],
    daypass_identity: MadeIdentity, request: pytest.FixtureRequest, how: str,
) -> None:  # fmt: skip
    end = request.getfixturevalue(how)
    async with connect(gate, credentials) as tool:
        assert await tool("add", first=2, second=3) == 5
        await anyio.to_thread.run_sync(end)
        assert await tool("add", first=4, second=5) == 9
        assert "POST" in {each.method for each in arrived}
        assert {each.user for each in arrived} == {daypass_identity.user}


async def test_a_refusal_ends_the_session_with_an_error(
    gate: str, credentials: daypass.Credentials, deny: Callable[..., Token]
) -> None:
    async def use() -> None:
        async with sdk(gate, credentials) as tool:
            assert await tool("add", first=2, second=3) == 5
            await anyio.to_thread.run_sync(lambda: deny(every=True))
            await tool("add", first=2, second=3)

    with pytest.raises(ExceptionGroup) as refused:
        await use()
    (error,) = refused.value.exceptions
    assert isinstance(error, httpx.HTTPStatusError)
    assert str(error).startswith("Client error '401 Unauthorized' for url")
    assert error.response.headers["daypass-reason"] == "denied"


@pytest.mark.parametrize("connect", [sdk, langchain, agents])
async def test_the_log_has_the_reason_of_a_refusal(
    connect: Connect, gate: str, credentials: daypass.Credentials, deny: Callable[..., Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with suppress(ExceptionGroup, asyncio.CancelledError):  # the one or the other
        async with connect(gate, credentials) as tool:
            assert await tool("add", first=2, second=3) == 5
            await anyio.to_thread.run_sync(lambda: deny(every=True))
            await tool("add", first=2, second=3)
            pytest.fail("the call passed")
    assert REFUSED in caplog.text
    assert "(denied)" in caplog.text


async def test_over_sse_a_refusal_is_in_the_log_and_the_call_waits_for_its_timeout(
    gate: str, credentials: daypass.Credentials, deny: Callable[..., Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with sdk_sse(gate, credentials) as tool:
        assert await tool("add", first=2, second=3) == 5
        await anyio.to_thread.run_sync(lambda: deny(every=True))
        with pytest.raises(McpError, match="Timed out"):
            await tool("add", timeout=1, first=2, second=3)
    assert REFUSED in caplog.text
    assert "Client error '401 Unauthorized'" in caplog.text
