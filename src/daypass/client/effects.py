"""What a flow asks of whoever drives it, and is sent the outcome of.

A flow is a generator: it decides, and does no I/O. `sync` and `aio` each do these four things.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeAlias, TypeVar

    from daypass.client.http1 import HttpRequest
    from daypass.client.in_flight import InFlight
    from daypass.client.route import Route

    T = TypeVar("T")
    Effect: TypeAlias = "Send | Wait | Join | Run"
    Flow: TypeAlias = Generator[Effect, Any, T]


class Send:
    """Send the request on a new connection, and send the whole Response back in, or throw
    TransportError; in no more than `timeout_seconds` all together."""

    __slots__ = ("request", "route", "timeout_seconds")

    def __init__(self, request: HttpRequest, route: Route, timeout_seconds: float) -> None:
        self.request = request
        self.route = route
        self.timeout_seconds = timeout_seconds


class Wait:
    """Let this many seconds pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Join:
    """Wait until the flight has landed and send True back in; False after `timeout_seconds`, or
    where it can't land while one waits for it."""

    __slots__ = ("flight", "timeout_seconds")

    def __init__(self, flight: InFlight, timeout_seconds: float) -> None:
        self.flight = flight
        self.timeout_seconds = timeout_seconds


class Run:
    """Run the program, and send back what it printed, or throw ProgramError; kill it after
    `timeout_seconds`."""

    __slots__ = ("command", "timeout_seconds")

    def __init__(self, command: tuple[str, ...], timeout_seconds: float) -> None:
        self.command = command
        self.timeout_seconds = timeout_seconds
