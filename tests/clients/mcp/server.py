"""An MCP server: streamable HTTP at `/mcp`, SSE at `/sse`. `server.py PORT`"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

import uvicorn

try:
    from mcp.server.mcpserver import Context, MCPServer
except ModuleNotFoundError:  # SDK 1
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("tools")
released: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)


@server.tool()
def add(first: int, second: int) -> int:
    """Return the sum."""
    return first + second


@server.tool()
async def hold(number: int, context: Context) -> int:
    """Report progress, and return once `release` is called."""
    await context.report_progress(1, 2, "held")
    await released[number].wait()
    await context.report_progress(2, 2, "released")
    return number


@server.tool()
def release(number: int) -> int:
    """Let `hold` return."""
    released[number].set()
    return number


app = server.streamable_http_app()
app.router.routes.extend(server.sse_app().routes)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
