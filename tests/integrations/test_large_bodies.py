"""A refused upload of 80 MB is sent again with another token, whatever library sends it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests

import daypass
import daypass.integrations.aiohttp
import daypass.integrations.httpx
import daypass.integrations.httpx2
import daypass.integrations.requests
import daypass.integrations.urllib3
import daypass.testing
from daypass._core.tls import client_context
from daypass.local.stack import LocalStack
from daypass.testing import MovableClock
from support.http_services import Handler, serving
from support.stack_credentials import credentials_with_an_old_token, deny_token

BODY = bytes(range(256)) * 4096 * 80
"""Far more than the sockets on the way hold, and as much as a small model."""
PIECE = 1024 * 1024
ARRIVED = f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"


class _Uploads(Handler):
    """Answers with the length and the hash of what it received."""

    def do_POST(self) -> None:
        received, length = hashlib.sha256(), 0
        for size in self.sizes():
            left = size
            while left and (piece := self.rfile.read(min(left, PIECE))):
                received.update(piece)
                left -= len(piece)
            length += size
        self.answer(200, f"{length} {received.hexdigest()}")

    def sizes(self) -> Iterator[int]:
        """The length of each part of the body."""
        if "content-length" in self.headers:
            yield int(self.headers["content-length"])
            return
        while size := int(self.rfile.readline(), 16):
            yield size
            self.rfile.readline()
        self.rfile.readline()


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A gate in front of a service for large uploads."""
    with (
        serving(_Uploads) as port,
        daypass.testing.stack(upstream=f"http://127.0.0.1:{port}") as running,
    ):
        yield running


@pytest.fixture(scope="module")
def tls(stack: LocalStack) -> ssl.SSLContext:
    return client_context(stack.authority_file.read_text())


@pytest.fixture
def denied(stack: LocalStack) -> daypass.Credentials:
    """Credentials whose cached token the gate refuses with 401."""
    identity = stack.make_identity("team", f"bot-{secrets.token_hex(4)}")
    credentials = credentials_with_an_old_token(MovableClock(), identity.credentials_file)
    deny_token(stack, credentials.token())
    return credentials


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(BODY)
    return path


Upload = Callable[[daypass.Credentials, LocalStack, ssl.SSLContext, Path], str]


def by_requests(credentials: Any, stack: LocalStack, _: Any, path: Path) -> str:
    auth = daypass.integrations.requests.Auth(credentials)
    with path.open("rb") as file:
        answer = requests.post(
            stack.gate, data=file, auth=auth, verify=str(stack.authority_file), timeout=60
        )
    return answer.text


def by_urllib3(credentials: Any, stack: LocalStack, tls: Any, _: Path) -> str:
    pools = daypass.integrations.urllib3.PoolManager(credentials, ssl_context=tls, retries=False)
    return pools.request("POST", stack.gate, body=BODY, timeout=60).data.decode()


def by_aiohttp(credentials: Any, stack: LocalStack, tls: Any, path: Path) -> str:
    auth = daypass.integrations.aiohttp.Auth(credentials, stack.gate)

    async def upload() -> str:
        connector = aiohttp.TCPConnector(ssl=tls)
        with path.open("rb") as file:
            async with (
                aiohttp.ClientSession(connector=connector, middlewares=(auth,)) as session,
                session.post(stack.gate, data=file) as answer,
            ):
                return await answer.text()

    return asyncio.run(upload())


def by_httpx(
    library: Any, auth: Any, http2: bool, of: str,
    credentials: Any, stack: LocalStack, tls: Any, path: Path,
) -> str:  # fmt: skip
    options = {"auth": auth(credentials), "verify": tls, "http2": http2, "timeout": 60}
    with library.Client(**options) as client, path.open("rb") as file:
        sent = {"files": {"file": file}} if of == "form" else {"content": BODY}
        answer = client.post(stack.gate, **sent)
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    return str(answer.text)


def by_httpx_async(
    library: Any, auth: Any, http2: bool,
    credentials: Any, stack: LocalStack, tls: Any, _: Path,
) -> str:  # fmt: skip
    options = {"auth": auth(credentials), "verify": tls, "http2": http2, "timeout": 60}

    async def upload() -> str:
        async with library.AsyncClient(**options) as client:
            answer = await client.post(stack.gate, content=BODY)
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        return str(answer.text)

    return asyncio.run(upload())


HTTPX = (httpx, daypass.integrations.httpx.Auth)
HTTPX2 = (httpx2, daypass.integrations.httpx2.Auth)
UPLOADS: dict[str, Upload] = {
    "requests, a file": by_requests,
    "urllib3, bytes": by_urllib3,
    "aiohttp, a file": by_aiohttp,
    "httpx, bytes": partial(by_httpx, *HTTPX, False, "bytes"),
    "httpx2, asyncio, bytes, HTTP/2": partial(by_httpx_async, *HTTPX2, True),
}
"""httpx itself takes quadratic time for bytes over HTTP/2."""
FORMS: dict[str, Upload] = {
    f"{library.__name__}, {version}": partial(by_httpx, library, auth, version == "HTTP/2", "form")
    for library, auth in (HTTPX, HTTPX2)
    for version in ("HTTP/2",)
}


@pytest.mark.parametrize("name", UPLOADS)
def test_a_refused_upload_is_sent_again_whole(
    name: str, denied: daypass.Credentials, stack: LocalStack, tls: ssl.SSLContext, file: Path
) -> None:
    assert UPLOADS[name](denied, stack, tls, file) == ARRIVED


@pytest.mark.parametrize("name", FORMS)
def test_a_refused_form_with_a_large_file_is_sent_again_whole(
    name: str, denied: daypass.Credentials, stack: LocalStack, tls: ssl.SSLContext, file: Path
) -> None:
    length, _ = FORMS[name](denied, stack, tls, file).split()
    assert int(length) > len(BODY)


def test_a_refused_upload_from_a_generator_is_the_gates_401(
    denied: daypass.Credentials, stack: LocalStack, tls: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), PIECE):
            yield BODY[start : start + PIECE]

    async def upload() -> int:
        auth = daypass.integrations.httpx.Auth(denied)
        async with httpx.AsyncClient(auth=auth, verify=tls, timeout=60) as client:
            return (await client.post(stack.gate, content=pieces())).status_code

    assert asyncio.run(upload()) == 401
    assert "can be read only once" in caplog.text
    assert "(denied)" in caplog.text
