"""An MCP server for programs that start one: it passes all on to a server behind a gate.

    {"mcpServers": {"tools": {"command": "python3", "args": ["mcp_bridge.py", "https://HOST/mcp"]}}}

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import asyncio
import sys

import daypass
import daypass.integrations.httpx2
import fastmcp
from fastmcp.server import create_proxy

url = sys.argv[1]

auth = daypass.integrations.httpx2.Auth(daypass.Credentials.load())
client = fastmcp.Client(url, auth=auth)


async def connect() -> None:
    """Raise what is wrong: a bridge to nowhere looks like a server without tools."""
    async with client:
        pass


asyncio.run(connect())
create_proxy(client).run(show_banner=False)
