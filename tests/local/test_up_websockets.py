"""WebSockets through the gate of `daypass up`, with each check: a library's client and server."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web

from daypass._core.tls import client_context
from daypass.local.stack import HOST, LocalStack, MadeIdentity, stack_config
from daypass.rules.reasons import REASON_HEADER
from support.deadline import eventually
from support.unlimited_reviews import unlimited_reviews
from support.up_embedded import checked_by

MIB = 1024 * 1024
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Service:
    """A server of aiohttp, on a thread of its own. `arrived`: the headers of each handshake."""

    arrived: list[dict[str, str]]
    loop: asyncio.AbstractEventLoop
    port: int = 0

    def run(self, client: Coroutine[Any, Any, T]) -> T:
        """Run a client on the server's loop, which outlives the client's connections."""
        return asyncio.run_coroutine_threadsafe(client, self.loop).result(30)

    async def echo(self, request: web.Request) -> web.StreamResponse:
        self.arrived.append({name.lower(): value for name, value in request.headers.items()})
        if request.path == "/refusing":
            raise web.HTTPForbidden(text="not yours")
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


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    loop = asyncio.new_event_loop()
    running, ended, is_up = Service(arrived=[], loop=loop), asyncio.Event(), threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", running.echo)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        running.port = runner.addresses[0][1]
        is_up.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    is_up.wait()
    yield running
    transports = loop._transports  # type: ignore[attr-defined]

    def is_alone() -> bool:
        return len([each for each in transports.values() if each._sock is not None]) <= 1

    eventually("its connections are closed", is_alone)
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A stack whose gate guards the service."""

    stack: LocalStack
    service: Service

    def token(self, name: str) -> tuple[MadeIdentity, dict[str, str]]:
        """A new identity, and the header for a token of its."""
        made = self.stack.make_identity(name=name)
        return made, {"Authorization": f"Bearer {self.stack.make_token(made).reveal()}"}

    @property
    def context(self) -> ssl.SSLContext:
        return client_context(self.stack.authority_file.read_text())

    @asynccontextmanager
    async def opened(
        self, headers: dict[str, str], path: str = "/"
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        url = f"wss://{HOST}:{self.stack.supervisor.envoy.ports['gate']}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                url,
                headers=headers,
                ssl=self.context,
                protocols=["v2.example", "v1.example"],
                compress=15,
                max_msg_size=8 * MIB,
            ) as socket,
        ):
            yield socket

    def refusal(self, headers: dict[str, str], path: str = "/") -> tuple[int, str | None]:
        """The code and reason of a refused handshake; 101 if it is not refused."""

        async def open_one() -> tuple[int, str | None]:
            try:
                async with self.opened(headers, path):
                    return 101, None
            except aiohttp.WSServerHandshakeError as error:
                return error.status, error.headers.get(REASON_HEADER) if error.headers else None

        return self.service.run(open_one())


@pytest.fixture(scope="module", params=["jwt", "review"])
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, service: Service
) -> Iterator[Lab]:
    with unlimited_reviews():
        text = stack_config(upstream=f"http://127.0.0.1:{service.port}")
        folder = tmp_path_factory.mktemp("s")
        with LocalStack(folder, config=checked_by(request.param, text)) as stack:
            yield Lab(stack=stack, service=service)


def test_messages_of_any_kind_and_size_pass_both_ways(lab: Lab) -> None:
    identity, headers = lab.token("talking")

    async def talk() -> None:
        async with lab.opened(headers, "/?q=%2F") as socket:
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

    lab.service.run(talk())
    arrived = lab.service.arrived[-1]
    assert arrived["kubeflow-userid"] == identity.user
    assert "authorization" not in arrived


def test_a_refused_handshake_has_the_gates_reason(lab: Lab) -> None:
    identity, _ = lab.token("refused")
    arrived = len(lab.service.arrived)

    def of(**options: object) -> dict[str, str]:
        token = lab.stack.make_token(identity, **options)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {token.reveal()}"}

    assert lab.refusal({}) == (401, "no-token")
    assert lab.refusal(of(expired=True)) == (401, "expired")
    assert lab.refusal(of(audiences=["other"])) == (403, "audience")
    assert lab.refusal(of(bound=False)) == (403, "unbound")
    assert len(lab.service.arrived) == arrived


def test_a_refusal_of_the_service_is_passed_on(lab: Lab) -> None:
    _, headers = lab.token("unwelcome")
    assert lab.refusal(headers, "/refusing") == (403, None)


def test_after_a_revocation_an_open_one_goes_on_and_the_next_is_refused(lab: Lab) -> None:
    identity, headers = lab.token("revoked")

    async def outlive() -> None:
        async with lab.opened(headers) as socket:
            await socket.send_str("before")
            assert await socket.receive_str() == "before"
            lab.stack.revoke(identity)

            def is_refused() -> bool:
                return lab.refusal(headers)[0] == 401

            await asyncio.to_thread(eventually, "the next is refused", is_refused)
            await socket.send_str("after")
            assert await socket.receive_str() == "after"

    lab.service.run(outlive())
    assert lab.refusal(headers) == (401, "unknown-credential")
