"""The exchange as one generator: what to send, when to wait, what to believe, when to give up.

It does no I/O and knows no event loop. A driver (`sync`, `aio`) does what it yields and sends back
what came of it, so both ways of calling share every decision.
"""

from __future__ import annotations

from daypass.client.answers import read_grant
from daypass.client.failures import Failure, explain_transport
from daypass.client.refusals import explain_refusal
from daypass.client.transport import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from daypass.client.http import Request, Response
    from daypass.client.order import Order
    from daypass.client.timing import Timing
    from daypass.client.token import Grant

TRIES = 4
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
"""What an answer may ask for at most (Retry-After); beyond it the caller is told instead."""


class Send:
    """Effect: send the request on a new connection, and send the whole Response back in, or throw
    TransportError; in no more than `timeout_seconds` all together."""

    __slots__ = ("request", "timeout_seconds")

    def __init__(self, request: Request, timeout_seconds: float) -> None:
        self.request = request
        self.timeout_seconds = timeout_seconds


class Wait:
    """Effect: let this many seconds pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def exchange(order: Order, timing: Timing) -> Generator[Send | Wait, Response | None, Grant]:
    """Trade the order's long-lived token for a short-lived one.

    Tries again after resets, refused connections, 429 and 5xx, as far as the deadline allows, and
    after nothing else. Raises the errors of `daypass.client.errors`.
    """
    clock = timing.clock
    ends = clock.monotonic() + timing.exchange_seconds
    attempt = 0
    while True:
        attempt += 1
        asked = (clock.unix(), clock.monotonic())
        cause: BaseException | None = None
        try:
            response = yield Send(order.request(), ends - clock.monotonic())
            assert response is not None  # noqa: S101 - what a driver sends back for Send
        except TransportError as error:
            cause = error.__cause__
            failure = explain_transport(error, order, asked[0])
        else:
            if response.status in (200, 201):
                return read_grant(response, order, asked)
            failure = explain_refusal(response, order, asked[0])
        pause = _pause(failure, attempt, timing)
        if pause is None or clock.monotonic() + pause >= ends:
            raise failure.error from cause
        yield Wait(pause)


def _pause(failure: Failure, attempt: int, timing: Timing) -> float | None:
    if not failure.again or attempt == TRIES:
        return None
    if failure.after_seconds is None:
        return FIRST_PAUSE_SECONDS * (1 << (attempt - 1)) * (1 + timing.chance())
    if failure.after_seconds > LONGEST_PAUSE_SECONDS:
        return None
    # Everybody is told the same second: spread them a little beyond it.
    return failure.after_seconds + FIRST_PAUSE_SECONDS * timing.chance()
