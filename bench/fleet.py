"""When ten thousand clients ask the door, over a day of made-up time.

Each client is a `daypass.Credentials` of its own, and what it decides is decided by the library
itself: only the clock, the wire and the thread of a refresh are made up. A client request for its
token all the time, so that whatever is due is done within ten seconds.
"""

from __future__ import annotations

import heapq
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable

from bench.report import figure
from daypass._core.clock import utc
from daypass._core.errors import DaypassError
from daypass.client.credentials import Credentials
from daypass.client.http1 import HttpRequest, HttpResponse
from daypass.client.transport import CONNECT, Route, Timing, TransportError
from support.exchanges import FakeSend, credentials_config
from support.fake_door import AUDIENCE, short_lived_token
from support.timing import FakeClock, FakeTiming

CLIENTS = 10_000
LIFETIME_SECONDS = 3600
BUCKET_SECONDS = 60
ASKS_EVERY_SECONDS = 10.0
BAR = 2.0


class Fleet:
    """Clients of one door. `down`: from when until when it refuses connections, in seconds."""

    def __init__(self, starts: list[float], down: tuple[float, float], seed: int) -> None:
        self.clock = FakeClock()
        self.began = self.clock.now_monotonic
        self.down = down
        self.asked: Counter[int] = Counter()
        self.without_token = 0
        chance = random.Random(seed)
        self.random = random.Random(seed + 1)
        timing: Timing = FakeTiming(self.clock)
        timing.jitter = chance.random
        timing.start = _at_once
        settings = credentials_config(
            "http://127.0.0.1:1/kubernetes", self.clock.unix(), lifetimeSeconds=LIFETIME_SECONDS
        )
        self.refusal = TransportError(CONNECT, Route(target=settings.door.address))
        self.refusal.__cause__ = ConnectionRefusedError()
        wire = FakeSend(self.answer)
        wire.requests = _Nowhere()
        self.token = short_lived_token()
        self.due = [
            (start, number, Credentials(settings, timing=timing, send=wire))
            for number, start in enumerate(starts)
        ]
        heapq.heapify(self.due)

    @property
    def now(self) -> float:
        """Seconds since the fleet began."""
        return self.clock.now_monotonic - self.began

    def answer(self, request: HttpRequest) -> HttpResponse | Exception:
        """What the door says."""
        self.asked[int(self.now // BUCKET_SECONDS)] += 1
        if self.down[0] <= self.now < self.down[1]:
            return self.refusal
        ends = f"{utc(self.clock.unix() + LIFETIME_SECONDS):%Y-%m-%dT%H:%M:%SZ}"
        body = {
            "kind": "TokenRequest",
            "spec": {"audiences": [AUDIENCE], "expirationSeconds": LIFETIME_SECONDS},
            "status": {"token": self.token, "expirationTimestamp": ends},
        }
        return HttpResponse(status=201, headers=(), body=json.dumps(body).encode())

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        while self.due and self.due[0][0] < seconds:
            at, number, credentials = heapq.heappop(self.due)
            self.clock.advance(max(0.0, at - self.now))
            try:
                credentials.token()
                cached = credentials._recent[(None, None)]
                # Until then, asking is looking into a dictionary: that much is skipped.
                quiet = cached.fresh_seconds - cached.age_seconds(self.clock)
            except DaypassError:
                self.without_token += 1
                quiet = 0.0
            wait = max(0.0, quiet) + ASKS_EVERY_SECONDS * self.random.random()
            heapq.heappush(self.due, (self.now + wait, number, credentials))


class _Nowhere(list[HttpRequest]):
    def append(self, request: HttpRequest) -> None:
        """Requests of a whole day are too many to keep."""


def _at_once(name: str, work: Callable[[], None]) -> None:
    work()


def run(*, quick: bool) -> None:
    """Four days; `quick`: of eight hours."""
    hours = 8 if quick else 24
    chance = random.Random(20)
    together = [chance.random() for _ in range(CLIENTS)]
    apart = [LIFETIME_SECONDS * chance.random() for _ in range(CLIENTS)]
    outage = (3 * 3600.0, 3 * 3600.0 + 600)
    for name, starts, down in (
        ("started over an hour", apart, (0.0, 0.0)),
        ("all started in the same second", together, (0.0, 0.0)),
        ("started over an hour, door down for 10 min", apart, outage),
        ("same second, door down for 10 min", together, outage),
    ):
        _measure(name, starts, down, hours)


def _measure(name: str, starts: list[float], down: tuple[float, float], hours: int) -> None:
    fleet = Fleet(starts, down, seed=len(name))
    fleet.run(hours * 3600)
    # Whole minutes after the first hour, of which all clients have begun. While the door is down
    # the attempts count as well.
    minutes = [fleet.asked[minute] for minute in range(60, hours * 60)]
    mean, peak = statistics.fmean(minutes), max(minutes)
    figure(
        name,
        f"{peak}, {mean:.1f} a minute; {fleet.without_token} times without a token",
        ratio=f"{peak / mean:.2f}",
        bar=f"<= {BAR:g}",
    )
