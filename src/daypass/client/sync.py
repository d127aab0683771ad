"""The exchange on plain blocking sockets.

Every wait is for what is left of the deadline, so neither a silent door nor one that drips a byte
at a time holds anybody up for longer.
"""

from __future__ import annotations

import socket

from daypass._core.process import ProgramError
from daypass.client.effects import Join, Run, Send
from daypass.client.http1 import HttpRequest, HttpResponse, MalformedAnswerError, ResponseParser
from daypass.client.program import run
from daypass.client.resolve import resolve
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
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from daypass._core.clock import Clock
    from daypass.client.effects import Effect, Flow, T
    from daypass.client.route import Route
    from daypass.client.timing import Timing
    from daypass.client.transport import Wire

    Transmit: TypeAlias = Callable[[Route, HttpRequest, float, Clock], HttpResponse]

_READ_BYTES = 64 * 1024


def drive(flow: Flow[T], timing: Timing, wire: Wire | None = None) -> T:
    """Do what a flow asks for until it returns or raises."""
    transmit = send if wire is None else wire.send
    outcome: Any = None
    try:
        while True:
            is_error = isinstance(outcome, Exception)
            effect = flow.throw(outcome) if is_error else flow.send(outcome)
            try:
                outcome = _do(effect, timing, transmit)
            except (TransportError, ProgramError) as error:
                outcome = error
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()  # where this thread was interrupted, so that nobody waits for the flow


def _do(effect: Effect, timing: Timing, transmit: Transmit) -> object:
    if isinstance(effect, Send):
        return transmit(effect.route, effect.request, effect.timeout_seconds, timing.clock)
    if isinstance(effect, Join):
        return effect.flight.wait(effect.timeout_seconds)
    if isinstance(effect, Run):
        return run(effect.command, effect.timeout_seconds, timing.clock)
    timing.sleep(effect.seconds)
    return None


def send(route: Route, request: HttpRequest, timeout_seconds: float, clock: Clock) -> HttpResponse:
    """One request on a connection of its own; raises TransportError."""
    deadline = _Deadline(clock, timeout_seconds)
    with ConnectPhases(route) as stages:
        connection = _connect(route, stages, deadline)
        try:
            if route.proxy is not None:
                stages.now = PROXY
                _tunnel(connection, route.proxy.connect_request(route.target), deadline)
            if route.context is not None:
                stages.now = TLS
                connection.settimeout(deadline.left())
                connection = route.context.wrap_socket(
                    connection,
                    # As bytes: text would be put through the `idna` codec, which costs 4 ms.
                    server_hostname=route.target.host.encode("ascii"),
                )
            stages.now = ANSWER
            return _ask(connection, request, ResponseParser(), deadline)
        finally:
            connection.close()


class _Deadline:
    __slots__ = ("_clock", "_ends")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + seconds

    def left(self) -> float:
        left = self._ends - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _connect(route: Route, stages: ConnectPhases, deadline: _Deadline) -> socket.socket:
    first = route.first
    found = resolve(first, deadline.left())
    stages.now = CONNECT
    for position, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        try:
            # An address that swallows packets must leave time for the ones after it.
            connection.settimeout(deadline.left() / (len(found) - position))
            connection.connect(address)
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


def _tunnel(connection: socket.socket, request: HttpRequest, deadline: _Deadline) -> None:
    parser = ResponseParser(to_connect=True)
    response = _ask(connection, request, parser, deadline)
    if not 200 <= response.status < 300:
        raise ProxyAnswerError(response.status)
    if parser.leftover:
        raise MalformedAnswerError("it says more than the tunnel was asked for")


def _ask(
    connection: socket.socket, request: HttpRequest, parser: ResponseParser, deadline: _Deadline
) -> HttpResponse:
    connection.settimeout(deadline.left())
    connection.sendall(request.encode())
    while True:
        connection.settimeout(deadline.left())
        data = connection.recv(_READ_BYTES)
        response = parser.feed(data) if data else parser.end()
        if response is not None:
            return response
