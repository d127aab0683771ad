"""Requests of an auditor: raw targets, one connection each, bounded in time and size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.secret import Secret
from daypass.client.address import HostPort
from daypass.client.http import Request, Response
from daypass.client.order import USER_AGENT
from daypass.client.route import Route, route_to_host
from daypass.client.sync import send
from daypass.client.transport import TransportError

TIMEOUT_SECONDS = 10.0
TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Sends requests to one host. Raises TransportError where no answer comes.

    It waits as long as a 429 asks for (the door counts requests of each source), TRIES times.
    Answers come without `secrets`: a server may quote what another request has shown it.
    """

    route: Route
    authority: str
    secrets: tuple[Secret, ...] = ()
    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = field(default=time.sleep)

    def ask(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """One request with this exact target, and its answer, whatever that is."""
        return self.send(self._request(method, target, headers, body))

    def send(self, request: Request) -> Response:
        """This very request, and its answer."""
        attempt = 1
        while True:
            response = send(self.route, request, TIMEOUT_SECONDS, self.clock)
            if response.status != 429 or attempt == TRIES:
                return response.without(*self.secrets)
            attempt += 1
            self.sleep(1.0)

    def _request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Request:
        return Request(
            method=method,
            target=target,
            headers=(
                ("Host", self.authority),
                ("User-Agent", f"{USER_AGENT} verify"),
                ("Accept", "application/json"),
                ("Connection", "close"),
                *headers,
                *((("Content-Length", str(len(body))),) if body or method == "POST" else ()),
            ),
            body=body,
        )


def asker(
    address: HostPort,
    authority: str,
    certificate_authority: str | None,
    *,
    secrets: tuple[Secret, ...],
    clock: Clock,
    sleep: Callable[[float], None],
) -> Asker:
    """An Asker that speaks verified TLS, through HTTPS_PROXY where that is set."""
    route = route_to_host(address, certificate_authority, tls=True)
    return Asker(route=route, authority=authority, secrets=secrets, clock=clock, sleep=sleep)


def header(response: Response, name: str) -> str:
    """The first value of a header, or nothing."""
    return next((value for key, value in response.headers if key == name), "")


def ask_in_the_clear(host: str, target: str, clock: Clock) -> Response:
    """The same over plain http, port 80, without anything secret. Raises TransportError."""
    route = Route(target=HostPort(host, 80))
    request = Request(
        method="GET",
        target=target,
        headers=(("Host", host), ("User-Agent", USER_AGENT), ("Connection", "close")),
    )
    return send(route, request, 3.0, clock)


__all__ = ["Asker", "TransportError", "ask_in_the_clear", "asker", "header"]
