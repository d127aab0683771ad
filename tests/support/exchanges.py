"""Exchanges without a socket, fed with what a server might send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.credentials_source import CredentialsSource
from daypass.client.door import TokenRequest
from daypass.client.exchange import request_token
from daypass.client.http1 import HttpRequest, HttpResponse, read_response
from daypass.client.retry import TRIES, repeat
from daypass.client.token import CachedToken
from daypass.client.transport import Deadline, Route
from support.fake_door import AUDIENCE, credentials_document
from support.timing import FakeTiming

URL = "https://ekf.example.com/kubernetes"


def credentials_config(url: str, **changes: object) -> CredentialsConfig:
    """What a credentials file for this door holds."""
    content = json.dumps(credentials_document(url, **changes)).encode()
    source = CredentialsSource(origin="credentials.json", document=content)
    return CredentialsConfig(source)


def token_request() -> TokenRequest:
    """What a client with good credentials requests."""
    settings = credentials_config(URL)
    assert settings.token is not None
    return TokenRequest(
        door=settings.door,
        identity=settings.identity,
        token=settings.token,
        audience=AUDIENCE,
        lifetime_seconds=3600,
    )


def response(raw: bytes) -> HttpResponse:
    return read_response(iter([raw, b""] if raw else [b""]).__next__)[0]


def run_exchange(
    answers: Iterable[bytes | Exception],
    *,
    timing: FakeTiming | None = None,
    request: TokenRequest | None = None,
) -> CachedToken:
    """Send one TokenRequest that gets these answers, in order; the last one repeats."""
    timing, script = timing or FakeTiming(), list(answers)
    request = request or token_request()
    door = FakeSend(lambda _: script.pop(0) if len(script) > 1 else script[0])
    deadline = Deadline(timing.clock, timing.exchange_seconds)
    route = Route(target=request.door.address)
    return repeat(
        lambda: request_token(request, route, deadline, send=door), deadline, timing, TRIES
    )


class FakeSend:
    """A door without a socket, for `Credentials(config, send=...)`.

    `answer` gives the answer to a request, as bytes or read, or the error to raise.
    """

    def __init__(self, answer: Callable[[HttpRequest], bytes | HttpResponse | Exception]) -> None:
        self.answer = answer
        self.requests: list[HttpRequest] = []

    def __call__(self, route: Route, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.requests.append(request)
        answered = self.answer(request)
        if isinstance(answered, Exception):
            raise answered
        return answered if isinstance(answered, HttpResponse) else response(answered)


class CredentialsAtDoor:
    """Makes credentials for a door without a socket; `wire` is the last one's."""

    wire: FakeSend

    def __init__(self, timing: FakeTiming) -> None:
        self._timing = timing

    def __call__(
        self, answer: Callable[[HttpRequest], bytes | HttpResponse | Exception], **changes: object
    ) -> Credentials:
        config = credentials_config("http://127.0.0.1:1/kubernetes", **changes)
        self.wire = FakeSend(answer)
        return Credentials(config, timing=self._timing, send=self.wire)
