"""1,000 requests in flight by asyncio: the adapter beside a header that never changes.

The server is a process of its own that answers at once (`load stub`, Go, TLS), so the client, which
is one thread, is what sets the pace. Requests are counted per second of that thread's processor
time: its rate on a core of its own, whatever else this machine does. Rounds are short and many, in
turns, each begun with no garbage; what counts is the median of their ratios, and how well it is
known. Clients have all of their connections before anything counts, and keep them. With aiohttp
a middleware that does nothing is compared to the header as well, since having one has a price, and
one static header to another, to see what this measure takes for a difference.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any

import aiohttp
import httpx

import daypass.testing
from bench.loads import build, stub
from bench.rounds import compare
from daypass._core.tls import client_context
from daypass.client.credentials import Credentials
from daypass.integrations.aiohttp import Auth as AiohttpAuth
from daypass.integrations.httpx import Auth as HttpxAuth
from support.authority import Authority

IN_FLIGHT = 1000
HTTPX_CONNECTIONS = 20
"""Its pool looks at every connection for every request: with 1,000 it makes some 20 requests/s."""
KEPT_SECONDS = 3600.0
Ask = Callable[[], Coroutine[Any, Any, None]]


def run(*, quick: bool) -> None:
    """Both libraries, each in turns; `quick` takes fewer rounds."""
    authority = Authority("daypass bench")
    certificate = authority.server("localhost")
    with daypass.testing.stack() as stack:
        credentials = stack.make_identity().credentials()
        credentials.token()  # fresh for longer than this takes; the stack is not needed any more
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        (folder / "server.crt").write_text(certificate.certificate_pem)
        (folder / "server.key").touch(0o600)
        (folder / "server.key").write_text(certificate.key_pem)
        (folder / "body").write_text("{}")
        files = (folder / "server.crt", folder / "server.key", folder / "body")
        with stub(build(), *files) as port, asyncio.Runner() as runner:
            clients = Clients(credentials, f"https://localhost:{port}/", authority.pem)
            measure = Measure(runner)
            rounds = 41 if quick else 301
            with measure.opened(clients.aiohttp()) as (adapter, static, empty, other):
                measure.compare("aiohttp: adapter | static header", adapter, static, rounds)
                measure.compare("aiohttp: empty middleware | static", empty, static, rounds, "")
                measure.compare("aiohttp: static header | another", other, static, rounds, "")
            rounds = 7 if quick else 31
            with measure.opened(clients.httpx()) as (adapter, static):
                measure.compare("httpx: adapter | static header", adapter, static, rounds)


class Measure:
    """Runs clients on one loop, in turns."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    @contextmanager
    def opened(
        self, clients: AbstractAsyncContextManager[tuple[Ask, ...]]
    ) -> Iterator[tuple[Ask, ...]]:
        """Clients that are open during the block."""
        asks = self._runner.run(_enter(clients))
        try:
            yield asks
        finally:
            self._runner.run(_leave(clients))

    def compare(self, name: str, ours: Ask, theirs: Ask, rounds: int, bar: str = ">= 0.97") -> None:
        """Print how their rates compare."""
        compare(
            f"{IN_FLIGHT} in flight, {name}",
            lambda: self._runner.run(_rate(ours)),
            lambda: self._runner.run(_rate(theirs)),
            rounds=rounds, unit="/s", bar=bar, certain=True,
        )  # fmt: skip


async def _enter(clients: AbstractAsyncContextManager[tuple[Ask, ...]]) -> tuple[Ask, ...]:
    return await clients.__aenter__()


async def _leave(clients: AbstractAsyncContextManager[tuple[Ask, ...]]) -> None:
    await clients.__aexit__(None, None, None)


async def _rate(ask: Ask) -> float:
    gc.collect()
    started = time.thread_time()
    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    return IN_FLIGHT / (time.thread_time() - started)


async def _nothing(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    return await handler(request)


class Clients:
    """Makes clients that differ in where the Authorization header comes from alone."""

    def __init__(self, credentials: Credentials, url: str, authority_pem: str) -> None:
        self._credentials = credentials
        self._url = url
        self._context = client_context(authority_pem)
        self._static = {"Authorization": f"Bearer {credentials.token().value.reveal()}"}

    @asynccontextmanager
    async def aiohttp(self) -> AsyncIterator[tuple[Ask, ...]]:
        """The adapter, a static header, that with a middleware that does nothing, and again."""
        auth = AiohttpAuth(self._credentials, self._url)
        ways: tuple[dict[str, Any], ...] = (
            {"middlewares": (auth,)},
            {"headers": self._static},
            {"headers": self._static, "middlewares": (_nothing,)},
            {"headers": self._static},
        )
        async with AsyncExitStack() as opened:

            async def asking(how: dict[str, Any]) -> Ask:
                connector = aiohttp.TCPConnector(
                    limit=IN_FLIGHT, ssl=self._context, keepalive_timeout=KEPT_SECONDS
                )
                session = aiohttp.ClientSession(connector=connector, **how)
                await opened.enter_async_context(session)

                async def ask() -> None:
                    async with session.get(self._url) as answer:
                        assert answer.status == 201, answer
                        await answer.read()

                return ask

            yield tuple([await asking(how) for how in ways])

    @asynccontextmanager
    async def httpx(self) -> AsyncIterator[tuple[Ask, ...]]:
        """The adapter, and a static header."""
        limits = httpx.Limits(
            max_connections=HTTPX_CONNECTIONS,
            max_keepalive_connections=HTTPX_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
        )
        ways: tuple[dict[str, Any], ...] = (
            {"auth": HttpxAuth(self._credentials)},
            {"headers": self._static},
        )
        async with AsyncExitStack() as opened:

            async def asking(how: dict[str, Any]) -> Ask:
                client = httpx.AsyncClient(verify=self._context, limits=limits, timeout=600, **how)
                await opened.enter_async_context(client)

                async def ask() -> None:
                    answer = await client.get(self._url)
                    assert answer.status_code == 201, answer

                return ask

            yield tuple([await asking(how) for how in ways])
