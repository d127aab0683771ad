"""The HTTP libraries with their adapters, behind one small interface."""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import aiohttp
import httpx
import httpx2
import requests
import urllib3

import daypass
import daypass.integrations.aiohttp
import daypass.integrations.httpx
import daypass.integrations.httpx2
import daypass.integrations.requests
import daypass.integrations.urllib3
from daypass._core.tls import client_context

Data = bytes | BinaryIO | Iterable[bytes] | None
File = BinaryIO | None
Headers = Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back in the end."""

    code: int
    text: str


class Caller(ABC):
    """A client that follows redirects and trusts the authorities of one file.

    `error`: what the library raises if a connection breaks.
    """

    error: type[Exception]

    def __init__(self, credentials: daypass.Credentials, origin: str, authorities: Path) -> None:
        self.credentials = credentials
        self.origin = origin
        self.authorities = authorities
        self.open()

    @property
    def context(self) -> ssl.SSLContext:
        """TLS that trusts them."""
        return client_context(self.authorities.read_text())

    @abstractmethod
    def open(self) -> None:
        """Make the client."""

    def send(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Headers = None,
        data: Data = None,
        file: File = None,
    ) -> Reply:
        """Send one request. `data`: its body; `file`: a multipart form with this file instead."""
        return self.request(method, url, headers, data, file)

    @abstractmethod
    def request(self, method: str, url: str, headers: Headers, data: Data, file: File) -> Reply:
        """Send it with the library."""

    @abstractmethod
    def close(self) -> None:
        """End the client."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Httpx(Caller):
    error: type[Exception] = httpx.TransportError
    library: Any = httpx
    auth: Any = daypass.integrations.httpx.Auth

    def open(self) -> None:
        auth = self.auth(self.credentials)
        options = {"auth": auth, "verify": self.context, "follow_redirects": True, "timeout": 60}
        self.client = self.library.Client(**options)

    def request(self, method: str, url: str, headers: Headers, data: Data, file: File) -> Reply:
        files = None if file is None else {"file": file}
        answer = self.client.request(method, url, headers=headers, content=data, files=files)
        return Reply(code=answer.status_code, text=answer.text)

    def close(self) -> None:
        self.client.close()


class HttpxAsync(Caller):
    error: type[Exception] = httpx.TransportError
    library: Any = httpx
    auth: Any = daypass.integrations.httpx.Auth

    def open(self) -> None:
        self.runner = asyncio.Runner()
        auth = self.auth(self.credentials)
        options = {"auth": auth, "verify": self.context, "follow_redirects": True}
        self.client = self.library.AsyncClient(**options)

    def request(self, method: str, url: str, headers: Headers, data: Data, file: File) -> Reply:
        content = data if data is None or isinstance(data, bytes) else slowly(data)
        files = None if file is None else {"file": file}
        sent = self.client.request(method, url, headers=headers, content=content, files=files)
        answer = self.runner.run(sent)
        return Reply(code=answer.status_code, text=answer.text)

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()


class Httpx2(Httpx):
    error: type[Exception] = httpx2.TransportError
    library = httpx2
    auth = daypass.integrations.httpx2.Auth


class Httpx2Async(HttpxAsync):
    error: type[Exception] = httpx2.TransportError
    library = httpx2
    auth = daypass.integrations.httpx2.Auth


class Requests(Caller):
    error = requests.RequestException

    def open(self) -> None:
        self.session = requests.Session()
        self.session.auth = daypass.integrations.requests.Auth(self.credentials)

    def request(self, method: str, url: str, headers: Headers, data: Data, file: File) -> Reply:
        files = None if file is None else {"file": file}
        # With each request: a session's own `verify` counts less than REQUESTS_CA_BUNDLE.
        answer = self.session.request(
            method, url, headers=headers, data=data, files=files, verify=str(self.authorities)
        )
        return Reply(code=answer.status_code, text=answer.text)

    def close(self) -> None:
        self.session.close()


class Aiohttp(Caller):
    error = aiohttp.ClientError

    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.runner.run(self._open())

    async def _open(self) -> None:
        auth = daypass.integrations.aiohttp.Auth(self.credentials, self.origin)
        self.sockets: list[socket.socket] = []
        connector = aiohttp.TCPConnector(ssl=self.context, socket_factory=self._socket)
        self.session = aiohttp.ClientSession(connector=connector, middlewares=(auth,))

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        self.sockets.append(socket.socket(*address[:3]))
        return self.sockets[-1]

    def request(self, method: str, url: str, headers: Headers, data: Data, file: File) -> Reply:
        content: Any = data
        if data is not None and not isinstance(data, bytes) and not hasattr(data, "read"):
            content = slowly(data)
        if file is not None:
            content = aiohttp.FormData({"file": file})

        async def reply() -> Reply:
            async with self.session.request(method, url, headers=headers, data=content) as answer:
                return Reply(code=answer.status, text=await answer.text())

        return self.runner.run(reply())

    def close(self) -> None:
        self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        await self.session.close()
        # aiohttp does not wait until TLS has ended on a connection whose request failed.
        while any(each.fileno() >= 0 for each in self.sockets):
            await asyncio.sleep(0.001)


class Urllib3(Caller):
    error = urllib3.exceptions.HTTPError

    def open(self) -> None:
        self.pools = daypass.integrations.urllib3.PoolManager(
            self.credentials, ssl_context=self.context
        )

    def request(self, method: str, url: str, headers: Headers, data: Data, file: File) -> Reply:
        options: dict[str, Any] = {"headers": headers}
        if data is not None:
            options["body"] = data
        if file is not None:
            options["fields"] = {"file": ("file", file.read())}
        answer = self.pools.request(method, url, **options)
        return Reply(code=answer.status, text=answer.data.decode())

    def close(self) -> None:
        self.pools.clear()


async def slowly(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, as an async generator."""
    for chunk in chunks:
        yield chunk


CALLERS: Mapping[str, Callable[[daypass.Credentials, str, Path], Caller]] = {
    "httpx": Httpx,
    "httpx-async": HttpxAsync,
    "httpx2": Httpx2,
    "httpx2-async": Httpx2Async,
    "requests": Requests,
    "aiohttp": Aiohttp,
    "urllib3": Urllib3,
}
