"""The exchange on asyncio's streams. What to do is decided in `flow`, as for blocking sockets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from daypass.client.flow import Wait
from daypass.client.http import MalformedAnswerError, Request, Response, ResponseParser
from daypass.client.transport import (
    ANSWER,
    CONNECT,
    PROXY,
    TLS,
    ProxyAnswerError,
    Stages,
    TransportError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from daypass.client.flow import Send
    from daypass.client.route import Route
    from daypass.client.timing import Timing
    from daypass.client.token import Grant

_READ_BYTES = 64 * 1024


async def drive_async(
    flow: Generator[Send | Wait, Response | None, Grant], route: Route, timing: Timing
) -> Grant:
    """Do what a flow asks for until it returns or raises."""
    outcome: Response | TransportError | None = None
    while True:
        try:
            effect = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
        except StopIteration as stop:
            grant: Grant = stop.value
            return grant
        outcome = None
        if isinstance(effect, Wait):
            await timing.sleep_async(effect.seconds)
            continue
        try:
            outcome = await send_async(route, effect.request, effect.timeout_seconds)
        except TransportError as error:
            outcome = error


async def send_async(route: Route, request: Request, timeout_seconds: float) -> Response:
    """One request on a connection of its own; raises TransportError."""
    with Stages(route) as stages:
        async with asyncio.timeout(timeout_seconds):
            connection = await _connect(route, stages, timeout_seconds)
            try:
                if route.proxy is not None:
                    stages.now = PROXY
                    await _tunnel(connection, route.proxy.connect_request(route.target))
                stages.now = TLS if route.context is not None else ANSWER
                reader, writer = await asyncio.open_connection(
                    sock=connection,
                    ssl=route.context,
                    server_hostname=route.target.host if route.context is not None else None,
                )
            except BaseException:
                connection.close()
                raise
            try:
                stages.now = ANSWER
                return await _ask(reader, writer, request)
            finally:
                await _close(writer)


async def _connect(route: Route, stages: Stages, timeout_seconds: float) -> socket.socket:
    loop, first = asyncio.get_running_loop(), route.first
    found = await loop.getaddrinfo(first.host.encode("ascii"), first.port, type=socket.SOCK_STREAM)
    stages.now = CONNECT
    ends = loop.time() + timeout_seconds
    for position, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            # An address that swallows packets must leave time for the ones after it.
            share = (ends - loop.time()) / (len(found) - position)
            async with asyncio.timeout(share):
                await loop.sock_connect(connection, address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError:
            connection.close()
            if position + 1 == len(found):
                raise
        except BaseException:
            connection.close()
            raise
    raise socket.gaierror(socket.EAI_NONAME, "no address")


async def _tunnel(connection: socket.socket, request: Request) -> None:
    loop, parser = asyncio.get_running_loop(), ResponseParser(to_connect=True)
    await loop.sock_sendall(connection, request.encode())
    response = None
    while response is None:
        data = await loop.sock_recv(connection, _READ_BYTES)
        response = parser.feed(data) if data else parser.end()
    if not 200 <= response.status < 300:
        raise ProxyAnswerError(response.status)
    if parser.leftover:
        raise MalformedAnswerError("it says more than the tunnel was asked for")


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
) -> Response:
    parser = ResponseParser()
    writer.write(request.encode())
    await writer.drain()
    response = None
    while response is None:
        data = await reader.read(_READ_BYTES)
        response = parser.feed(data) if data else parser.end()
    return response


async def _close(writer: asyncio.StreamWriter) -> None:
    # abort: the answer is whole or no longer wanted, and a polite end of TLS may never come.
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
