"""MCP's SDK for Python and fastmcp, to a server behind the gate."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import fastmcp
import httpx2
import pytest
from fastmcp.client.transports import SSETransport, StdioTransport
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

import daypass
import daypass.integrations.httpx2
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity
from support.examples import EXAMPLES

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusts_the_gate")]

Tool = Callable[..., Awaitable[Any]]
"""`await tool("add", first=2, second=3)` calls a tool of the server."""
NUMBERS = itertools.count()
"""What is held is called by another number each time."""
REFUSED = "the gate refused POST https://localhost"
Connect = Callable[[str, daypass.Credentials], AbstractAsyncContextManager[Tool]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def sdk(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/mcp"
    http_client = httpx2.AsyncClient(
        auth=daypass.integrations.httpx2.Auth(credentials), timeout=300
    )
    transport = streamable_http_client(url, http_client=http_client)
    async with http_client, of_the_sdk(transport) as tool:
        yield tool


@asynccontextmanager
async def sdk_sse(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/sse"
    transport = sse_client(url, auth=daypass.integrations.httpx2.Auth(credentials))
    async with of_the_sdk(transport) as tool:
        yield tool


@asynccontextmanager
async def of_the_sdk(transport: Any) -> AsyncIterator[Tool]:
    async with Client(transport) as client:

        async def tool(
            name: str, progress: Any = None, timeout: float = 30, **arguments: int
        ) -> Any:
            done = await client.call_tool(
                name, arguments, progress_callback=progress, read_timeout_seconds=timeout
            )
            assert done.structured_content is not None
            return done.structured_content["result"]

        yield tool


@asynccontextmanager
async def fast(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/mcp"
    client = fastmcp.Client(url, auth=daypass.integrations.httpx2.Auth(credentials))
    async with of_fastmcp(client) as tool:
        yield tool


@asynccontextmanager
async def fast_sse(gate: str, credentials: daypass.Credentials) -> AsyncIterator[Tool]:
    url = f"{gate}/sse"
    transport = SSETransport(url, auth=daypass.integrations.httpx2.Auth(credentials))
    async with of_fastmcp(fastmcp.Client(transport)) as tool:
        yield tool


@asynccontextmanager
async def of_fastmcp(client: fastmcp.Client[Any]) -> AsyncIterator[Tool]:
    async with client:

        async def tool(
            name: str, progress: Any = None, timeout: float = 30, **arguments: int
        ) -> Any:
            done = await client.call_tool(
                name, arguments, progress_handler=progress, timeout=timeout
            )
            assert done.structured_content is not None
            return done.structured_content["result"]

        yield tool


@pytest.fixture(params=[sdk, sdk_sse, fast, fast_sse], ids=lambda each: each.__name__)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Each client, with each transport."""
    way: Connect = request.param
    return way


async def test_progress_arrives_while_the_tool_runs(
    connect: Connect, gate: str, credentials: daypass.Credentials
) -> None:
    """`hold` returns only after its first report has arrived and was acted upon."""
    number = next(NUMBERS)
    async with connect(gate, credentials) as tool, anyio.create_task_group() as tasks:
        reports = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            reports.append(message)
            if message == "held":
                tasks.start_soon(partial(tool, "release", number=number))

        assert await tool("hold", progress, number=number) == number
    assert reports == ["held", "released"]


@pytest.mark.parametrize("how", ["expire", "deny"])
async def test_a_session_outlives_its_tokens(
    connect: Connect, gate: str, credentials: daypass.Credentials, arrived: list[Arrival],
    daypass_identity: MadeIdentity, request: pytest.FixtureRequest, how: str,
) -> None:  # fmt: skip
    end = request.getfixturevalue(how)
    async with connect(gate, credentials) as tool:
        assert await tool("add", first=2, second=3) == 5
        await anyio.to_thread.run_sync(end)
        assert await tool("add", first=4, second=5) == 9
        assert [(each.method, each.user) for each in arrived] == [("POST", daypass_identity.user)]


@pytest.mark.parametrize("connect", [sdk, fast])
async def test_a_refusal_is_an_error_of_the_call_and_the_log_has_the_reason(
    connect: Connect, gate: str, credentials: daypass.Credentials, arrived: list[Arrival],
    deny: Callable[..., Token], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with connect(gate, credentials) as tool:
        assert await tool("add", first=2, second=3) == 5
        await anyio.to_thread.run_sync(lambda: deny(every=True))
        with pytest.raises(MCPError, match="Server returned an error response"):
            await tool("add", first=2, second=3)
    assert REFUSED in caplog.text
    assert "(denied)" in caplog.text
    assert [each for each in arrived if each.method == "POST"] == []


@pytest.mark.parametrize("connect", [sdk_sse, fast_sse])
async def test_over_sse_a_refusal_is_in_the_log_and_the_call_waits_for_its_timeout(
    connect: Connect, gate: str, credentials: daypass.Credentials, deny: Callable[..., Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with connect(gate, credentials) as tool:
        assert await tool("add", first=2, second=3) == 5
        await anyio.to_thread.run_sync(lambda: deny(every=True))
        with pytest.raises(MCPError, match="timed out"):
            await tool("add", timeout=1, first=2, second=3)
    assert REFUSED in caplog.text
    assert "Client error '401 Unauthorized'" in caplog.text


@pytest.fixture
def bridge(
    gate: str, authority: str, daypass_identity: MadeIdentity, tmp_path: Path
) -> dict[str, Any]:
    """What a program's config says."""
    return {
        "command": sys.executable,
        "args": [str(EXAMPLES / "mcp_bridge.py"), f"{gate}/mcp"],
        "env": {
            "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
            "HOME": str(tmp_path),
            "SSL_CERT_FILE": authority,
        },
    }


async def test_a_program_with_a_config_starts_the_bridge(
    bridge: dict[str, Any], daypass_identity: MadeIdentity, arrived: list[Arrival]
) -> None:
    async with of_fastmcp(fastmcp.Client({"mcpServers": {"tools": bridge}})) as tool:
        assert await tool("add", first=2, second=3) == 5
    assert {each.user for each in arrived} == {daypass_identity.user}


async def test_a_bridge_that_is_refused_ends_with_the_reason_in_its_log(
    bridge: dict[str, Any], gate: str, daypass_identity: MadeIdentity, arrived: list[Arrival],
    tmp_path: Path,
) -> None:  # fmt: skip
    document = json.loads(daypass_identity.credentials_file.read_text())
    daypass_identity.credentials_file.write_text(json.dumps({**document, "audience": "elsewhere"}))
    log = tmp_path / "log"
    with pytest.raises(MCPError, match="Connection closed"):
        async with fastmcp.Client(StdioTransport(**bridge, log_file=log)):
            pass
    assert f"the gate refused POST {gate}: " in log.read_text()
    assert "(audience)" in log.read_text()
    assert arrived == []


HEADERS_HELPER = """token=$(daypass token) && printf '{"Authorization": "Bearer %s"}' $token"""
"""A setting of some programs: a command that prints headers, when they connect."""


async def test_a_program_with_a_headers_helper_connects(
    gate: str, daypass_identity: MadeIdentity, arrived: list[Arrival]
) -> None:
    printed = subprocess.run(
        ["sh", "-c", HEADERS_HELPER], capture_output=True, check=True, timeout=60,
        env={
            **os.environ,
            "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    ).stdout  # fmt: skip
    config = {"mcpServers": {"tools": {"url": f"{gate}/mcp", "headers": json.loads(printed)}}}
    async with of_fastmcp(fastmcp.Client(config)) as tool:
        assert await tool("add", first=2, second=3) == 5
    assert {each.user for each in arrived} == {daypass_identity.user}
