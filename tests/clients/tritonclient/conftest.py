"""KServe's model server, which speaks Triton's protocol, and what arrives at it.

It is in a process of its own, also because KServe and tritonclient's gRPC cannot be imported into
one: both define the messages of the protocol.
"""

from typing import Any

import daypass
from clients.kserve.conftest import calls, calls_file, grpc_port, server

__all__ = ["calls", "calls_file", "grpc_port", "server"]


def register(client: Any, credentials: daypass.Credentials) -> None:
    """Let a client send tokens, as the page "Your client" has it."""

    def add_token(request: Any) -> None:
        token = credentials.headers()["Authorization"]
        request.headers = {**request.headers, "authorization": token}

    client.register_plugin(add_token)
