"""Requests of an auditor: raw targets, one connection each, bounded in time and size.

A quick negative set: what must not get through, asked without any token.

The whole of it is `daypass audit`'s; this is what costs a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.secret import Secret
from daypass._core.status import Status
from daypass._core.text import printable
from daypass.client.door_url import HostPort
from daypass.client.http1 import HttpRequest, HttpResponse
from daypass.client.route import Route, route_to_host
from daypass.client.sync import send
from daypass.client.token_request import USER_AGENT
from daypass.client.transport import TransportError
from daypass.verification.report import Finding, failure, ok, warning
from daypass.verification.target import VerificationTarget

TIMEOUT_SECONDS = 10.0
TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RawClient:
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
    ) -> HttpResponse:
        """One request with this exact target, and its answer, whatever that is."""
        return self.send(self._request(method, target, headers, body))

    def send(self, request: HttpRequest) -> HttpResponse:
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
    ) -> HttpRequest:
        return HttpRequest(
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


def raw_client(
    address: HostPort,
    authority: str,
    certificate_authority: str | None,
    *,
    secrets: tuple[Secret, ...],
    clock: Clock,
    sleep: Callable[[float], None],
) -> RawClient:
    """An Asker that speaks verified TLS, through HTTPS_PROXY where that is set."""
    route = route_to_host(address, certificate_authority, tls=True)
    return RawClient(route=route, authority=authority, secrets=secrets, clock=clock, sleep=sleep)


def header(response: HttpResponse, name: str) -> str:
    """The first value of a header, or nothing."""
    return next((value for key, value in response.headers if key == name), "")


def ask_in_the_clear(host: str, target: str, clock: Clock) -> HttpResponse:
    """The same over plain http, port 80, without anything secret. Raises TransportError."""
    route = Route(target=HostPort(host, 80))
    request = HttpRequest(
        method="GET",
        target=target,
        headers=(("Host", host), ("User-Agent", USER_AGENT), ("Connection", "close")),
    )
    return send(route, request, 3.0, clock)


__all__ = ["RawClient", "TransportError", "ask_in_the_clear", "header", "raw_client"]

CHECK = "nothing-else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """A request that must end before the API server, and what it tries."""

    what: str
    method: str
    target: str


def negatives(target: VerificationTarget) -> list[Negative]:
    """One for each way in that has worked somewhere."""
    prefix, path = target.door.path, target.token_path
    accounts = path.rpartition("/default/token")[0]

    def get(what: str, target: str) -> Negative:
        return Negative(what=what, method="GET", target=target)

    return [
        get("another API", f"{prefix}/version"),
        get("the list of Secrets", f"{prefix}/api/v1/namespaces/default/secrets"),
        get("the way up", f"{accounts}/../secrets"),
        get("a path in disguise", f"{accounts}/default/%74oken"),
        get("a slash at the end", f"{path}/"),
        get("a query", f"{path}?dryRun=All"),
        get("two slashes", f"/{path}"),
        Negative(what="another method", method="DELETE", target=path),
    ]


def judge_negative(
    negative: Negative, response: HttpResponse | None, target: VerificationTarget
) -> Finding:
    """Whether a negative got through. None: the connection ended without an answer."""
    if response is None:
        return ok(CHECK, f"{negative.what}: the connection is ended")
    code = response.status
    status = Status.parse(response.body)
    message = printable(status.message) if status is not None else ""
    asked = f"{negative.method} {negative.target}"
    if 200 <= code < 300:
        return failure(CHECK, f"{negative.what} is answered with {code}: {asked}", _CLOSE)
    # The API server's own words: nobody else says these.
    if "system:anonymous" not in message and not (code == 401 and message == "Unauthorized"):
        return ok(CHECK, f"{negative.what}: {code}")
    fact = f"{negative.what} reaches the API server ({code}): {asked}"
    if '"serviceaccounts/token"' in message and negative.method == "GET":
        return warning(CHECK, fact, "still a TokenRequest, but the front changes paths on the way")
    if target.direct:
        return warning(CHECK, fact, "`direct: true` cannot refuse this: go through the door")
    return failure(CHECK, fact, _CLOSE)


_CLOSE = "more than TokenRequests is reachable: take the front down, and look at what it routes"
