"""Health and metrics on a port of their own, over plain HTTP: for probes and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

LIMIT_BYTES = 8 * 1024
LIMIT_CONNECTIONS = 64
SECONDS = 5.0


class AsyncStatusServer:
    """`/healthz`: it runs; `/readyz`: 200, or 503 and why; `/metrics`.

    `is_alive`: False where only a new start helps. `not_ready`: why not, or "". `lines`: the
    metrics.
    """

    def __init__(
        self,
        is_alive: Callable[[], bool],
        not_ready: Callable[[], str],
        lines: Callable[[], Iterator[str]],
    ) -> None:
        self._is_alive = is_alive
        self._not_ready = not_ready
        self._lines = lines
        self._open: dict[asyncio.StreamWriter, None] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=LIMIT_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.close()

    def answer(self, path: bytes) -> tuple[str, str]:
        """The status line's end and the body for a path."""
        if path == b"/healthz":
            return ("200 OK", "ok\n") if self._is_alive() else ("500 Internal Server Error", "\n")
        if path == b"/readyz":
            why = self._not_ready()
            return ("503 Service Unavailable", f"{why}\n") if why else ("200 OK", "ready\n")
        if path == b"/metrics":
            return "200 OK", "".join(f"{line}\n" for line in self._lines())
        return "404 Not Found", "/healthz /readyz /metrics\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = None
        if len(self._open) > LIMIT_CONNECTIONS:
            # The oldest makes room: a probe asks at once, whoever keeps others out waits.
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(SECONDS):
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.pop(writer, None)
            with suppress(OSError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
        if len(request) != 3 or request[0] not in (b"GET", b"HEAD"):
            status, body = "405 Method Not Allowed", ""
        else:
            status, body = self.answer(request[1].partition(b"?")[0])
        content = body.encode()
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + (b"" if request[0] == b"HEAD" else content))
        await writer.drain()
