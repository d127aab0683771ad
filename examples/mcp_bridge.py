"""An MCP server for programs that start one: it passes all on to a server behind a gate.

    {"mcpServers": {"tools": {"command": "python3", "args": ["mcp_bridge.py", "https://HOST/mcp"]}}}

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import sys

import daypass
import daypass.integrations.httpx2
import fastmcp
from fastmcp.server import create_proxy

url = sys.argv[1]

auth = daypass.integrations.httpx2.Auth(daypass.Credentials.load())
create_proxy(fastmcp.Client(url, auth=auth)).run(show_banner=False)
