"""Probes are answered while other connections stay open."""

from __future__ import annotations

import asyncio

from daypass.gate.authorizer.status_server import LIMIT_CONNECTIONS, AsyncStatusServer


def test_silent_connections_do_not_block_probes() -> None:
    async def probed() -> bytes:
        server = AsyncStatusServer(lambda: True, lambda: "", lambda: iter(()))
        port = await server.start("127.0.0.1", 0)
        silent = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * LIMIT_CONNECTIONS)
        ]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = await reader.read()
            assert len(server._open) <= LIMIT_CONNECTIONS
            writer.close()
            return answer
        finally:
            for _, each in silent:
                each.close()
            server.stop()

    assert asyncio.run(asyncio.wait_for(probed(), 60)).startswith(b"HTTP/1.1 200 OK")
