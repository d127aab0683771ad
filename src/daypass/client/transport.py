"""How an attempt to get an answer can end without one, said the same way by every driver."""

from __future__ import annotations

from daypass.client.http1 import MalformedAnswerError, TruncatedAnswerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol

    from daypass._core.clock import Clock
    from daypass.client.http1 import HttpRequest, HttpResponse
    from daypass.client.route import Route

    class Wire(Protocol):
        """What carries requests, in both ways of calling; raises TransportError."""

        def send(
            self, route: Route, request: HttpRequest, timeout_seconds: float, clock: Clock
        ) -> HttpResponse:
            """One request, one answer."""
            ...

        async def send_async(
            self, route: Route, request: HttpRequest, timeout_seconds: float
        ) -> HttpResponse:
            """The same, without holding up the event loop."""
            ...


RESOLVE, CONNECT, PROXY, TLS, ANSWER = "resolve", "connect", "proxy", "tls", "answer"


class ProxyAnswerError(Exception):
    """The proxy answered a CONNECT with something else than a tunnel; `status` says with what."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TransportError(Exception):
    """No answer. `stage` says how far it got; the cause is what the machine or TLS said."""

    def __init__(self, stage: str, route: Route) -> None:
        super().__init__(stage)
        self.stage = stage
        self.route = route


class ConnectPhases:
    """Keeps where an attempt stands, and names that place in what goes wrong there.

    with Stages(route) as stages:
        stages.now = CONNECT
        ...
    """

    __slots__ = ("_route", "now")

    def __init__(self, route: Route) -> None:
        self._route = route
        self.now = RESOLVE

    def __enter__(self) -> ConnectPhases:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(
            error, (OSError, MalformedAnswerError, TruncatedAnswerError, ProxyAnswerError)
        ):
            raise TransportError(self.now, self._route) from error
