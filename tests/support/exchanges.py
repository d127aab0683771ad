"""One exchange without a socket: the flow, fed with what a server might have sent."""

from __future__ import annotations

from collections.abc import Iterable

from daypass.client.flow import Send, Wait, exchange
from daypass.client.http import Response, ResponseParser
from daypass.client.order import Order
from daypass.client.settings import Settings
from daypass.client.token import Grant
from support.fake_door import AUDIENCE, credentials_document
from support.timing import FakeTiming

URL = "https://ekf.example.com/kubernetes"


def order(*, audience: str = AUDIENCE, lifetime_seconds: int = 3600) -> Order:
    """What a client with good credentials asks for."""
    settings = Settings(credentials_document(URL), origin="credentials.json", now_unix=0)
    return Order(
        door=settings.door,
        identity=settings.identity,
        token=settings.token,
        audience=audience,
        lifetime_seconds=lifetime_seconds,
    )


def response(raw: bytes) -> Response:
    """The answer in these bytes."""
    parser = ResponseParser()
    return parser.feed(raw) or parser.end()


def run_exchange(
    answers: Iterable[bytes | Exception],
    *,
    timing: FakeTiming | None = None,
    asks: Order | None = None,
) -> Grant:
    """Drive one exchange through these answers, in order; the last one repeats."""
    timing = timing or FakeTiming()
    flow = exchange(asks or order(), timing)
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
        grant: Grant = stop.value
        return grant
