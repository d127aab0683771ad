"""The exchange on asyncio's streams. What to do is decided in `flow`, as for blocking sockets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from daypass._core.process import ProgramError
from daypass.client.effects import Join, Run, Send
from daypass.client.http1 import HttpRequest, HttpResponse, MalformedAnswerError, ResponseParser
from daypass.client.program import run
from daypass.client.resolve import resolve_async
from daypass.client.transport import (
    ANSWER,
    CONNECT,
    PROXY,
    TLS,
    ConnectPhases,
    ProxyAnswerError,
    TransportError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeAlias

    from daypass.client.effects import Effect, Flow, T
    from daypass.client.route import Route
    from daypass.client.timing import Timing
    from daypass.client.transport import Wire

    Transmit: TypeAlias = Callable[[Route, HttpRequest, float], Awaitable[HttpResponse]]

_READ_BYTES = 64 * 1024


async def drive_async(flow: Flow[T], timing: Timing, wire: Wire | None = None) -> T:
    """Do what a flow asks for until it returns or raises."""
    transmit = send_async if wire is None else wire.send_async
    outcome: Any = None
    try:
        while True:
            is_error = isinstance(outcome, Exception)
            effect = flow.throw(outcome) if is_error else flow.send(outcome)
            try:
                outcome = await _do(effect, timing, transmit)
            except (TransportError, ProgramError) as error:
                outcome = error
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()  # where this task was cancelled, so that nobody waits for the flow


async def _do(effect: Effect, timing: Timing, transmit: Transmit) -> object:
    if isinstance(effect, Send):
        return await transmit(effect.route, effect.request, effect.timeout_seconds)
    if isinstance(effect, Join):
        return await effect.flight.wait_async(effect.timeout_seconds)
    if isinstance(effect, Run):
        # A thread that ends when the program does; children of an event loop need a watcher.
        return await asyncio.to_thread(run, effect.command, effect.timeout_seconds, timing.clock)
    await timing.sleep_async(effect.seconds)
    return None


async def send_async(route: Route, request: HttpRequest, timeout_seconds: float) -> HttpResponse:
    """One request on a connection of its own; raises TransportError."""
    with ConnectPhases(route) as stages:
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


async def _connect(route: Route, stages: ConnectPhases, timeout_seconds: float) -> socket.socket:
    loop, first = asyncio.get_running_loop(), route.first
    found = await resolve_async(first)
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


async def _tunnel(connection: socket.socket, request: HttpRequest) -> None:
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
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: HttpRequest
) -> HttpResponse:
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
