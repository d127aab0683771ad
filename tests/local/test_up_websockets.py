"""WebSockets through the gate of `daypass up`, with each check: a library's client and server.

tests/wire/test_gate_websockets.py has the refusals, and what outlives a revocation.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from daypass._core.tls import client_context
from daypass.local.stack import HOST, LocalStack, stack_config
from local.up_embedded import checked_by
from support.unlimited_reviews import unlimited_reviews

MIB = 1024 * 1024


class Service:
    """A server of aiohttp that sends messages back. `arrived`: the headers of each handshake."""

    def __init__(self) -> None:
        self.arrived: list[dict[str, str]] = []
        app = web.Application()
        app.router.add_get("/{path:.*}", self.echo)
        self.runner = web.AppRunner(app, shutdown_timeout=1)

    async def start(self) -> int:
        """Serve on a free port of loopback, which is returned."""
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return int(self.runner.addresses[0][1])

    async def echo(self, request: web.Request) -> web.StreamResponse:
        self.arrived.append({name.lower(): value for name, value in request.headers.items()})
        response = web.WebSocketResponse(protocols=("v1.example",), max_msg_size=8 * MIB)
        await response.prepare(request)
        async for message in response:
            if message.data == "end":
                await response.close(code=4001, message=b"as you wish")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await response.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await response.send_bytes(message.data)
        return response


async def talk(stack: LocalStack, headers: dict[str, str]) -> None:
    url = f"wss://{HOST}:{stack.supervisor.envoy.ports['gate']}/?q=%2F"
    tls = client_context(stack.authority_file.read_text())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await session.ws_connect(url, ssl=tls)
        async with session.ws_connect(
            url, headers=headers, ssl=tls, protocols=["v2.example", "v1.example"], compress=15,
            max_msg_size=8 * MIB,
        ) as socket:  # fmt: skip
            assert socket.protocol == "v1.example"
            assert socket.compress
            for text in ("hello", "\N{SNOWMAN}" * 100_000):
                await socket.send_str(text)
                assert await socket.receive_str() == text
            for size in (0, 1, 5 * MIB):
                await socket.send_bytes(bytes(size))
                assert await socket.receive_bytes() == bytes(size)
            await socket.ping()
            await socket.send_str("end")
            message = await socket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4001)


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_messages_of_any_kind_and_size_pass_both_ways(
    tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    folder: Path = tmp_path_factory.mktemp("s")

    async def story() -> None:
        service = Service()
        text = stack_config(upstream=f"http://127.0.0.1:{await service.start()}")
        with unlimited_reviews(), LocalStack(folder, config=checked_by(check, text)) as stack:
            identity = stack.make_identity()
            token = stack.make_token(identity).reveal()
            await talk(stack, {"Authorization": f"Bearer {token}"})
        await service.runner.cleanup()
        (arrived,) = service.arrived
        assert arrived["kubeflow-userid"] == identity.user
        assert "authorization" not in arrived

    asyncio.run(story())
