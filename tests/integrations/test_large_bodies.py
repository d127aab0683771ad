"""A refused upload of 80 MB is sent again with another token, whatever library sends it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

import daypass
import daypass.integrations.httpx
import daypass.integrations.httpx2
import daypass.testing
from daypass._core.tls import client_context
from daypass.local.stack import LocalStack
from daypass.testing import MovableClock
from integrations.callers import CALLERS
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


@pytest.mark.parametrize(
    ("library", "of"),
    [("requests", "file"), ("urllib3", "bytes"), ("aiohttp", "file"), ("httpx", "bytes")],
)
def test_a_refused_upload_is_sent_again_whole(
    library: str, of: str, denied: daypass.Credentials, stack: LocalStack, file: Path
) -> None:
    with (
        CALLERS[library](denied, stack.gate, stack.authority_file) as caller,
        file.open("rb") as opened,
    ):
        data = opened if of == "file" else BODY
        assert caller.send(stack.gate, "POST", data=data).text == ARRIVED


def test_a_refused_upload_over_http2_is_sent_again_whole(
    denied: daypass.Credentials, stack: LocalStack, tls: ssl.SSLContext
) -> None:
    """With httpx2: httpx itself takes quadratic time for bytes over HTTP/2."""
    auth = daypass.integrations.httpx2.Auth(denied)

    async def upload() -> httpx2.Response:
        async with httpx2.AsyncClient(auth=auth, verify=tls, http2=True, timeout=60) as client:
            return await client.post(stack.gate, content=BODY)

    answer = asyncio.run(upload())
    assert (answer.http_version, answer.text) == ("HTTP/2", ARRIVED)


@pytest.mark.parametrize(
    ("library", "auth"),
    [(httpx, daypass.integrations.httpx.Auth), (httpx2, daypass.integrations.httpx2.Auth)],
    ids=["httpx", "httpx2"],
)
def test_a_refused_form_with_a_large_file_is_sent_again_whole(
    library: Any, auth: Any, denied: daypass.Credentials, stack: LocalStack, tls: ssl.SSLContext,
    file: Path,
) -> None:  # fmt: skip
    client = library.Client(auth=auth(denied), verify=tls, http2=True, timeout=60)
    with closing(client), file.open("rb") as opened:
        answer = client.post(stack.gate, files={"file": opened})
    length, _ = answer.text.split()
    assert (answer.http_version, int(length) > len(BODY)) == ("HTTP/2", True)


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
