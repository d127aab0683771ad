"""Behaviour that is specific to one HTTP library."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping

import aiohttp
import pytest
import requests
from yarl import URL

import daypass
import daypass.integrations.aiohttp
import daypass.integrations.httpx
import daypass.integrations.requests
import daypass.integrations.urllib3
from daypass._core.tls import client_context
from daypass.testing import MovableClock
from integrations.service import Said, Service
from integrations.trust import Trust
from support.fake_door import FakeProxy
from support.tcp_server import TcpServer


@pytest.fixture
def tls(trust: Trust) -> ssl.SSLContext:
    return client_context(trust.file.read_text())


def test_a_requests_response_is_streamed_and_has_the_first_attempt_in_its_history(
    credentials: daypass.Credentials, service: Service, trust: Trust
) -> None:
    service.refuse_the_first_token()
    auth = daypass.integrations.requests.Auth(credentials)
    with requests.get(
        service.origin, auth=auth, verify=str(trust.file), stream=True, timeout=30
    ) as answer:
        assert b"".join(answer.iter_content(1)) == b"ok"
    assert [step.status_code for step in answer.history] == [401]
    for step in (answer, *answer.history):
        assert "Bearer ***" in repr(step.request.headers)
    assert answer.request.headers["authorization"] == f"Bearer {service.tokens[-1]}"


def test_an_error_of_aiohttp_does_not_show_the_token(
    credentials: daypass.Credentials, service: Service, tls: ssl.SSLContext
) -> None:
    service.answer = lambda _: Said(code=403)

    async def ask() -> pytest.ExceptionInfo[aiohttp.ClientResponseError]:
        auth = daypass.integrations.aiohttp.Auth(credentials, service.origin)
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(connector=connector, middlewares=(auth,)) as session:
            async with session.get(service.origin) as response:
                # A connection whose answer was not read stays open for a while after its session.
                await response.read()
            with pytest.raises(aiohttp.ClientResponseError) as raised:
                response.raise_for_status()
        return raised

    raised = asyncio.run(ask())
    assert raised.value.request_info.headers["Authorization"] == f"Bearer {service.tokens[-1]}"
    assert service.tokens[-1] is not None
    assert service.tokens[-1] not in repr(raised.value)


@pytest.mark.parametrize(
    ("origin", "url", "ours"),
    [
        ("https://gate", "https://gate/x?y", True),
        ("https://gate", "https://gate:443/", True),
        ("https://gate:443", "https://gate/", True),
        ("https://gate", "http://gate/", False),
        ("https://gate:444", "https://gate/", False),
        ("https://gate", "https://gate.evil/", False),
        ("https://gate", "wss://gate/", True),
        ("wss://gate", "https://gate:443/", True),
        ("https://gate", "ws://gate/", False),
    ],
)
def test_an_aiohttp_origin_is_one_scheme_host_and_port_however_it_is_spelled(
    credentials: daypass.Credentials, origin: str, url: str, ours: bool
) -> None:
    async def send(_: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        raise EOFError

    async def sent_headers() -> Mapping[str, str]:
        async with aiohttp.ClientSession() as session:
            loop = asyncio.get_running_loop()
            request = aiohttp.ClientRequest("GET", URL(url), loop=loop, session=session)
            with pytest.raises(EOFError):
                await daypass.integrations.aiohttp.Auth(credentials, origin)(request, send)
            return request.headers

    authorization = asyncio.run(sent_headers()).get("Authorization", "")
    assert authorization.startswith("Bearer ") is ours


def test_the_token_is_sent_to_the_server_and_not_to_the_proxy(
    credentials: daypass.Credentials, service: Service, tls: ssl.SSLContext
) -> None:
    with FakeProxy(int(service.origin.rpartition(":")[2])) as proxy:
        pools = daypass.integrations.urllib3.ProxyManager(
            credentials, f"http://127.0.0.1:{proxy.port}", ssl_context=tls
        )
        assert pools.request("GET", service.origin).status == 200
        pools.clear()
    (connect,) = proxy.requests
    assert connect.startswith(b"CONNECT ")
    assert b"uthorization" not in connect
    assert service.tokens == [credentials.token().value.reveal()]


class Endless(TcpServer):
    """Refuses the first request with a body that has no end, and answers the second."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[bytes] = []

    def serve(self, connection: socket.socket) -> None:
        head = connection.recv(65536)
        self.heads.append(head)
        if len(self.heads) > 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.recv(1)
            return
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + bytes(0x1000) + b"\r\n")


@pytest.mark.parametrize("library", ["requests", "urllib3"])
def test_a_refusal_without_an_end_is_not_read_to_its_end(
    credentials: daypass.Credentials, client_clock: MovableClock, library: str
) -> None:
    """A user who streams responses may not have room for one."""
    credentials.token()
    client_clock.move(120)
    with Endless() as server:
        url = f"http://127.0.0.1:{server.port}"
        if library == "requests":
            auth = daypass.integrations.requests.Auth(credentials)
            with requests.get(url, auth=auth, stream=True, timeout=30) as answer:
                assert answer.status_code == 200
        else:
            with daypass.integrations.urllib3.PoolManager(credentials) as pool:
                response = pool.request("GET", url, preload_content=False, timeout=30)
                assert response.status == 200
                response.close()
    first, second = server.heads
    assert first != second
