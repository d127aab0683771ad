"""Behaviour that is specific to one HTTP library."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
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
from integrations.service import Said, Seen, Service
from integrations.trust import Trust
from support.deadline import eventually
from support.fake_door import FakeProxy
from support.tcp_server import TcpServer

LARGE = bytes(range(256)) * 16384
"""4 MiB: more than the buffers on the way hold."""


@pytest.fixture
def tls(trust: Trust) -> ssl.SSLContext:
    return client_context(trust.file.read_text())


@pytest.fixture
def client(credentials: daypass.Credentials, tls: ssl.SSLContext) -> Iterator[httpx.Client]:
    """httpx with its adapter."""
    with httpx.Client(auth=daypass.integrations.httpx.Auth(credentials), verify=tls) as made:
        yield made


def test_an_httpx_form_with_an_unseekable_file_is_not_sent_again(
    service: Service, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    class Once(io.BytesIO):
        def seekable(self) -> bool:
            return False

    service.refuse_the_first_token()
    answer = client.post(service.origin, files={"file": Once(b"0123456789")})
    assert "can be read only once" in caplog.text
    assert (answer.status_code, len(service.seen)) == (401, 1)


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


@asynccontextmanager
async def aiohttp_session(
    credentials: daypass.Credentials, origin: str, tls: ssl.SSLContext, service: Service
) -> AsyncIterator[aiohttp.ClientSession]:
    auth = daypass.integrations.aiohttp.Auth(credentials, origin)
    connector = aiohttp.TCPConnector(ssl=tls)
    try:
        async with aiohttp.ClientSession(connector=connector, middlewares=(auth,)) as session:
            yield session
    finally:
        # aiohttp does not wait for the end of a connection that it has given up.
        idle = "no connection is open"
        await asyncio.to_thread(eventually, idle, lambda: not service.connections)


def test_aiohttp_sends_the_whole_body_again_after_a_401_during_the_upload(
    credentials: daypass.Credentials, service: Service, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    service.answers_early = True

    def refuse_once(_: Seen) -> Said:
        service.answers_early = False
        return Said(code=401 if len(service.seen) == 1 else 200)

    service.answer = refuse_once
    (tmp_path / "large").write_bytes(LARGE)

    async def upload() -> int:
        with (tmp_path / "large").open("rb") as file:
            async with (
                aiohttp_session(credentials, service.origin, tls, service) as session,
                session.put(service.origin, data=file) as response,
            ):
                return response.status

    assert asyncio.run(upload()) == 200
    assert service.seen[-1].body == LARGE


def test_an_error_of_aiohttp_does_not_show_the_token(
    credentials: daypass.Credentials, service: Service, tls: ssl.SSLContext
) -> None:
    service.answer = lambda _: Said(code=403)

    async def ask() -> None:
        async with (
            aiohttp_session(credentials, service.origin, tls, service) as session,
            session.get(service.origin) as response,
        ):
            response.raise_for_status()

    with pytest.raises(aiohttp.ClientResponseError) as raised:
        asyncio.run(ask())
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


def test_many_aiohttp_requests_that_are_refused_at_once_renew_once(
    credentials: daypass.Credentials, service: Service, tls: ssl.SSLContext
) -> None:
    service.refuse_the_first_token()

    async def ask() -> list[int]:
        async with aiohttp_session(credentials, service.origin, tls, service) as session:

            async def one() -> int:
                async with session.get(service.origin) as response:
                    return response.status

            return await asyncio.gather(*(one() for _ in range(20)))

    assert asyncio.run(ask()) == [200] * 20
    assert len(set(service.tokens)) == 2


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
