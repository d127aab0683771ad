"""Jupyter's server with its kernels behind the gate, and WebSocket libraries to the kernels."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tornado
import websockets
from jupyter_server.gateway.gateway_client import GatewayClient, gateway_request
from jupyter_server.gateway.managers import GatewayMappingKernelManager
from jupyter_server.serverapp import ServerApp

import daypass
import daypass.integrations.aiohttp
from clients.arrivals import Arrival
from daypass._core.tls import client_context
from daypass.client.token import Token
from daypass.integrations import jupyter_server
from daypass.local.stack import MadeIdentity
from integrations.service import Said, Service, running_service
from support.deadline import eventually
from support.ports import free_ports, listens

SETTINGS = """
JUPYTER_GATEWAY_URL=https://HOST
JUPYTER_GATEWAY_TOKEN_RENEWER_CLASS=daypass.integrations.jupyter_server.TokenRenewer
"""
NOTEBOOK = {"Authorization": "token of-the-notebook"}
"""What a browser sends to the user's own server."""


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A kernel gateway, on loopback only."""
    return run_server(
        sys.executable, "-m", "kernel_gateway", "--ip=127.0.0.1", "--port=PORT",
        environment={"HOME": str(tmp_path_factory.mktemp("home"))},
    )  # fmt: skip


pytestmark = pytest.mark.usefixtures("trusts_the_gate")


@pytest.fixture(autouse=True)
def _of_the_user(gate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in SETTINGS.replace("https://HOST", gate).split():
        monkeypatch.setenv(*line.split("="))


def words(port: int | str, folder: Path) -> list[str]:
    return [
        "--ip=127.0.0.1", f"--port={port}", "--allow-root", "--no-browser",
        f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=of-the-notebook",
    ]  # fmt: skip


@pytest.fixture
def notebook(
    home: Path, credentials: daypass.Credentials, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a Jupyter server in this process, whose credentials go by `client_clock`."""
    monkeypatch.setattr(daypass.Credentials, "load", lambda: credentials)
    (port,) = free_ports(1)
    running = threading.Thread(target=_serve, args=(words(port, home),))
    running.start()
    try:
        eventually("Jupyter listens", lambda: listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        app = ServerApp.instance()
        app.io_loop.add_callback(app.io_loop.stop)
        running.join()
        GatewayMappingKernelManager._kernels.clear()
        ServerApp.clear_instance()
        GatewayClient.clear_instance()


def _serve(argv: list[str]) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    app = ServerApp.instance()
    app.init_signal = lambda: None  # only for the main thread
    app.initialize(argv)
    app.start()


@asynccontextmanager
async def kernel(url: str, **how: Any) -> AsyncIterator[Kernel]:
    """A new kernel of a Jupyter server, or of a kernel gateway, and a WebSocket to it."""
    async with (
        aiohttp.ClientSession(url, raise_for_status=True, **how) as session,
        session.post("/api/kernels", json={"name": "python3"}) as made,
    ):
        name = (await made.json())["id"]
        try:
            async with session.ws_connect(f"/api/kernels/{name}/channels") as opened:
                yield Kernel(session, name, opened)
        finally:
            await session.delete(f"/api/kernels/{name}")


class Kernel:
    def __init__(
        self, session: aiohttp.ClientSession, name: str, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self.name = name
        self._session = session
        self._socket = socket

    @asynccontextmanager
    async def once_more(self) -> AsyncIterator[Kernel]:
        """Another WebSocket to the same kernel."""
        async with self._session.ws_connect(f"/api/kernels/{self.name}/channels") as opened:
            yield Kernel(self._session, self.name, opened)

    async def run(self, code: str) -> AsyncIterator[str]:
        """Yield what the code prints, while it runs."""
        name = uuid.uuid4().hex
        header = {"msg_id": name, "msg_type": "execute_request", "username": "", "session": name,
                  "version": "5.3", "date": "2026-01-01T00:00:00Z"}  # fmt: skip
        content = {"code": code, "silent": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content,
                   "channel": "shell", "buffers": []}  # fmt: skip
        await self._socket.send_json(message)
        async for each in self._socket:
            answer = json.loads(each.data)
            if answer["parent_header"].get("msg_id") != name:
                continue
            if answer["msg_type"] == "stream":
                yield answer["content"]["text"]
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return


async def printed(url: str, code: str, **how: Any) -> str:
    async with kernel(url, **how) as running:
        return "".join([text async for text in running.run(code)])


def test_a_notebook_runs_code_in_a_kernel_behind_the_gate(
    run_server: Callable[..., str], home: Path, daypass_identity: MadeIdentity,
    arrived: list[Arrival],
) -> None:  # fmt: skip
    server = run_server(
        sys.executable, "-m", "jupyter_server", *words("PORT", home),
        environment={"DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file)},
    )  # fmt: skip
    assert asyncio.run(printed(server, "print(6 * 7)", headers=NOTEBOOK)) == "42\n"
    assert {each.user for each in arrived} == {daypass_identity.user}
    assert [
        each.path.split("/")[-1].partition("?")[0] for each in arrived if each.is_websocket
    ] == ["channels"]


def test_an_open_kernel_and_new_ones_go_on_when_the_token_expires(
    notebook: str, arrived: list[Arrival], expire: Callable[[], Token],
    daypass_identity: MadeIdentity,
) -> None:  # fmt: skip
    async def run() -> str:
        async with kernel(notebook, headers=NOTEBOOK) as running:
            assert [text async for text in running.run("print('open')")] == ["open\n"]
            expire()
            return "".join([text async for text in running.run("print('still open')")])

    assert asyncio.run(run()) == "still open\n"
    assert asyncio.run(printed(notebook, "print('a new one')", headers=NOTEBOOK)) == "a new one\n"
    assert len([each for each in arrived if each.is_websocket]) == 1
    assert {each.user for each in arrived} == {daypass_identity.user}


def test_a_refusal_is_in_the_log_and_the_next_request_has_a_new_token(
    notebook: str, arrived: list[Arrival], deny: Callable[..., Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert list_kernels(notebook)[0] == 200
    denied = deny()
    status, answer = list_kernels(notebook)
    assert status == 401
    assert "Error from Gateway: [%s]" in answer  # Jupyter puts the message into its log only
    assert "Error from Gateway: [an administrator has denied this token" in caplog.text
    assert denied.value.reveal() not in answer + caplog.text
    assert arrived == []
    eventually("the token is renewed", lambda: list_kernels(notebook)[0] == 200)


def list_kernels(url: str) -> tuple[int, str]:
    async def ask() -> tuple[int, str]:
        async with aiohttp.ClientSession(url, headers=NOTEBOOK) as session:
            answer = await session.get("/api/kernelspecs")
            return answer.status, await answer.text()

    return asyncio.run(ask())


def test_a_tornado_that_sends_tokens_to_other_servers_is_refused(
    daypass_environment: MadeIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tornado, "version_info", (6, 5, 5, 0))
    with pytest.raises(daypass.UsageError, match=r"pip install 'tornado>=6\.5\.6'"):
        GatewayClient()


@pytest.fixture
def redirecting() -> Iterator[tuple[Service, Service]]:
    """A server that redirects to another one, and that."""
    with running_service(None) as first, running_service(None) as other:
        first.answer = lambda _: Said(
            code=302, location=f"{other.origin}/elsewhere".removeprefix("http:")
        )
        yield first, other


def test_a_redirect_to_another_server_is_followed_without_the_token(
    redirecting: tuple[Service, Service], daypass_environment: MadeIdentity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, other = redirecting
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", first.origin)
    url = f"{GatewayClient.instance().url}/api/kernels"
    try:
        asyncio.run(gateway_request(url, method="GET"))
    finally:
        GatewayClient.clear_instance()
    assert None not in first.tokens
    assert other.tokens == [None]


def test_websockets_follows_a_redirect_to_another_server_without_the_token(
    redirecting: tuple[Service, Service], credentials: daypass.Credentials
) -> None:
    """Before 16.1 it did so with the token."""
    first, other = redirecting

    async def run(url: str) -> None:
        with pytest.raises(websockets.InvalidStatus, match="HTTP 200"):
            await websockets.connect(url, additional_headers=await credentials.headers_async())

    asyncio.run(run(first.origin.replace("http", "ws")))
    assert None not in first.tokens
    assert other.tokens == [None]


def test_a_door_that_does_not_answer_holds_jupyters_loop_only_once(
    daypass_identity: MadeIdentity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says a word
        content = json.loads(daypass_identity.credentials_file.read_text())
        content["door"] = f"https://localhost:{silent.getsockname()[1]}/kubernetes"
        file = tmp_path / "silent.json"
        file.write_text(json.dumps(content))
        file.chmod(0o600)
        monkeypatch.setenv("DAYPASS_CREDENTIALS", str(file))
        client = GatewayClient()
        monkeypatch.setattr(jupyter_server, "_LONGEST_WAIT_SECONDS", 0.1)
        with pytest.raises(TimeoutError, match="door"):
            client.gateway_token_renewer.get_token("Authorization", "Bearer", "")
        monkeypatch.setattr(jupyter_server, "_LONGEST_WAIT_SECONDS", 3600.0)
        with pytest.raises(TimeoutError, match="door"):
            client.gateway_token_renewer.get_token("Authorization", "Bearer", "")


def trusting() -> aiohttp.TCPConnector:
    """For a process that has imported aiohttp before it knew SSL_CERT_FILE."""
    pem = Path(os.environ["SSL_CERT_FILE"]).read_text()
    return aiohttp.TCPConnector(ssl=client_context(pem))


def test_aiohttp_opens_websockets_with_its_middleware_and_renews_a_refused_token(
    gate: str, credentials: daypass.Credentials, deny: Callable[..., Token],
    arrived: list[Arrival], daypass_identity: MadeIdentity,
) -> None:  # fmt: skip
    auth = daypass.integrations.aiohttp.Auth(credentials, gate)

    async def run() -> list[str]:
        async with kernel(gate, connector=trusting(), middlewares=(auth,)) as running:
            deny()
            async with running.once_more() as another:
                return [text async for text in another.run("print('renewed')")]

    assert asyncio.run(run()) == ["renewed\n"]
    assert [each.user for each in arrived if each.is_websocket] == [daypass_identity.user]


def test_websockets_takes_the_headers_of_credentials_and_shows_a_refusal(
    gate: str, server: str, credentials: daypass.Credentials, deny: Callable[..., Token],
    arrived: list[Arrival], daypass_identity: MadeIdentity,
) -> None:  # fmt: skip
    async def run() -> None:
        async with kernel(server) as running:
            url = f"{gate.replace('https', 'wss')}/api/kernels/{running.name}/channels"
            async with websockets.connect(
                url, additional_headers=await credentials.headers_async()
            ) as connected:
                await connected.ping()
            assert [(each.user, each.is_websocket) for each in arrived] == [
                (daypass_identity.user, True)
            ]
            deny()
            with pytest.raises(websockets.InvalidStatus, match="HTTP 401") as refused:
                await websockets.connect(url, additional_headers=await credentials.headers_async())
            assert b"an administrator has denied" in refused.value.response.body
            assert arrived == []

    asyncio.run(run())
