"""Exchanges without a socket: a flow, or whole credentials, fed with what a server might send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.effects import Send, Wait
from daypass.client.exchange import ask
from daypass.client.http1 import HttpRequest, HttpResponse, ResponseParser
from daypass.client.route import Route
from daypass.client.token import CachedToken
from daypass.client.token_request import TokenRequest
from support.fake_door import AUDIENCE, credentials_document
from support.timing import NOON, FakeTiming

URL = "https://ekf.example.com/kubernetes"


def order(*, audience: str = AUDIENCE, lifetime_seconds: int = 3600) -> TokenRequest:
    """What a client with good credentials asks for."""
    settings = CredentialsConfig(credentials_document(URL), origin="credentials.json", now_unix=0)
    assert settings.token is not None
    return TokenRequest(
        door=settings.door,
        identity=settings.identity,
        token=settings.token,
        audience=audience,
        lifetime_seconds=lifetime_seconds,
    )


def response(raw: bytes) -> HttpResponse:
    """The answer in these bytes."""
    parser = ResponseParser()
    return parser.feed(raw) or parser.end()


def run_exchange(
    answers: Iterable[bytes | Exception],
    *,
    timing: FakeTiming | None = None,
    asks: TokenRequest | None = None,
) -> CachedToken:
    """Drive one exchange through these answers, in order; the last one repeats."""
    timing = timing or FakeTiming()
    asks = asks or order()
    ends = timing.clock.monotonic() + timing.exchange_seconds
    flow = ask(asks, Route(target=asks.door.address), timing, ends)
    script = list(answers)
    effect = next(flow)
    try:
        while True:
            if isinstance(effect, Wait):
                timing.sleep(effect.seconds)
                effect = flow.send(None)
                continue
            assert isinstance(effect, Send)
            entry = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(entry, Exception):
                effect = flow.throw(entry)
            else:
                effect = flow.send(response(entry))
    except StopIteration as stop:
        grant: CachedToken = stop.value
        return grant


class FakeWire:
    """A door without a socket, for `Credentials(settings, wire=...)`.

    `answer` gives the answer to a request, as bytes or read, or the error to raise. A task that
    sends lets others run first.
    """

    def __init__(self, answer: Callable[[HttpRequest], bytes | HttpResponse | Exception]) -> None:
        self.answer = answer
        self.requests: list[HttpRequest] = []

    def send(
        self, route: Route, request: HttpRequest, timeout_seconds: float, clock: Clock
    ) -> HttpResponse:
        """One request, one answer."""
        self.requests.append(request)
        answered = self.answer(request)
        if isinstance(answered, Exception):
            raise answered
        return answered if isinstance(answered, HttpResponse) else response(answered)

    async def send_async(
        self, route: Route, request: HttpRequest, timeout_seconds: float
    ) -> HttpResponse:
        """The same for a task."""
        await asyncio.sleep(0)
        return self.send(route, request, timeout_seconds, SYSTEM_CLOCK)


class Wired:
    """Makes credentials for a door without a socket; `wire` is the last one's."""

    wire: FakeWire

    def __init__(self, timing: FakeTiming) -> None:
        self._timing = timing

    def __call__(
        self, answer: Callable[[HttpRequest], bytes | HttpResponse | Exception], **changes: object
    ) -> Credentials:
        document = credentials_document("http://127.0.0.1:1/kubernetes", **changes)
        settings = CredentialsConfig(document, origin="credentials.json", now_unix=NOON)
        self.wire = FakeWire(answer)
        return Credentials(settings, timing=self._timing, wire=self.wire)
