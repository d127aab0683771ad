"""`mcp-remote`, which connects a program that starts MCP servers to one behind the gate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from daypass.local.stack import MadeIdentity
from support.arrivals import Arrival

pytestmark = pytest.mark.anyio

PROGRAMS = Path(sys.executable).parent
REMOTE = Path(__file__).parent / "node_modules" / ".bin" / "mcp-remote"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def environment(authority: str, daypass_identity: MadeIdentity, home: Path) -> dict[str, str]:
    return {
        "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
        "HOME": str(home),
        "NODE_EXTRA_CA_CERTS": authority,
        "PATH": f"{PROGRAMS}:{REMOTE.parent}:/usr/bin:/bin",
    }


CONFIG = """
{
  "command": "daypass",
  "args": [
    "run", "--lifetime", "8h", "--",
    "mcp-remote", "URL", "--header", "Authorization: Bearer ${DAYPASS_ACCESS_TOKEN}"
  ]
}
"""


async def add(config: str, environment: dict[str, str], log: IO[str]) -> Any:
    server = StdioServerParameters(**json.loads(config), env=environment)
    async with stdio_client(server, log) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        done = await session.call_tool("add", {"first": 2, "second": 3})
        assert done.structuredContent is not None
        return done.structuredContent["result"]


async def test_a_program_with_a_config_starts_it_with_a_token(
    gate: str, environment: dict[str, str], daypass_identity: MadeIdentity,
    arrived: list[Arrival], home: Path,
) -> None:  # fmt: skip
    config = CONFIG.replace("URL", f"{gate}/mcp")
    with (home / "log").open("w") as log:
        assert await add(config, environment, log) == 5
    assert {each.user for each in arrived} == {daypass_identity.user}
    assert "Bearer ey" not in (home / "log").read_text()


async def test_a_refusal_is_in_the_programs_log(
    gate: str, environment: dict[str, str], arrived: list[Arrival], home: Path
) -> None:
    config = CONFIG.replace("URL", f"{gate}/mcp").replace('"--lifetime", "8h"', '"--audience", "a"')
    with (home / "log").open("w") as log, pytest.raises(ExceptionGroup):
        await add(config, environment, log)
    assert "this token is made for another audience" in (home / "log").read_text()
    assert arrived == []
