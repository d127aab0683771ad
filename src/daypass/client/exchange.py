"""The exchange as one generator: what to send, when to wait, what to believe, when to give up.

It does no I/O and knows no event loop. A driver (`sync`, `aio`) does what it yields and sends back
what came of it, so both ways of calling share every decision.
"""

from __future__ import annotations

from daypass.client.effects import Send, Wait
from daypass.client.refusals import explain_refusal
from daypass.client.route import route_to
from daypass.client.token_request import TokenRequest
from daypass.client.token_response import read_token_response
from daypass.client.transport import TransportError
from daypass.client.transport_errors import Failure, explain_transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.client.config import CredentialsConfig
    from daypass.client.effects import Flow
    from daypass.client.route import Route
    from daypass.client.timing import Timing
    from daypass.client.token import CachedToken


TRIES = 4
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
"""What an answer may ask for at most (Retry-After); beyond it the caller is told instead."""


def exchange(
    settings: CredentialsConfig, question: tuple[str, int], timing: Timing, tries: int = TRIES
) -> Flow[CachedToken]:
    """Trade the long-lived token of these settings for a short-lived one.

    `question`: audience and lifetime in seconds. All of it, the way to the long-lived token
    included, has one deadline. Raises the errors of `daypass.client.errors`.
    """
    ends = timing.clock.monotonic() + timing.exchange_seconds
    token = yield from settings.long_lived.fetch(timing, ends)
    order = TokenRequest(
        door=settings.door,
        identity=settings.identity_of(token, timing.clock.unix()),
        token=token,
        audience=question[0],
        lifetime_seconds=question[1],
    )
    route = route_to(settings.door, settings.certificate_authority)
    return (yield from ask(order, route, timing, ends, tries))


def ask(
    order: TokenRequest, route: Route, timing: Timing, ends: float, tries: int = TRIES
) -> Flow[CachedToken]:
    """One TokenRequest until `ends` (monotonic).

    Tries again after resets, refused connections, 429 and 5xx, as far as the deadline allows, and
    after nothing else.
    """
    clock = timing.clock
    attempt = 0
    while True:
        attempt += 1
        asked = (clock.unix(), clock.monotonic())
        cause: BaseException | None = None
        try:
            response = yield Send(order.request(), route, ends - clock.monotonic())
        except TransportError as error:
            cause = error.__cause__
            failure = explain_transport(error, order, asked[0])
        else:
            if response.status in (200, 201):
                return read_token_response(response, order, asked)
            failure = explain_refusal(response, order, asked[0])
        pause = _pause(failure, timing.chance(), attempt) if attempt < tries else None
        if pause is None or clock.monotonic() + pause >= ends:
            raise failure.error from cause
        yield Wait(pause)


def _pause(failure: Failure, chance: float, attempt: int) -> float | None:
    if not failure.again:
        return None
    if failure.after_seconds is None:
        return FIRST_PAUSE_SECONDS * (1 << (attempt - 1)) * (1 + chance)
    if failure.after_seconds > LONGEST_PAUSE_SECONDS:
        return None
    # Everybody is told the same second: spread them a little beyond it.
    return failure.after_seconds + FIRST_PAUSE_SECONDS * chance
