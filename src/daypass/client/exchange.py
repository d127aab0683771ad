"""The exchange: a subject token for a short-lived one, by a TokenRequest to the door.

It is blocking code under one deadline. `exchange` gets the subject token and sends the request;
`read_token_response` decides what a good response is.
"""

from __future__ import annotations

import json

from daypass._core.clock import parse_http_date, parse_rfc3339, rfc3339
from daypass._core.jwt import LIMIT_CHARACTERS
from daypass._core.kubernetes.syntax import LONGEST_TOKEN_SECONDS
from daypass._core.secret import redact
from daypass.client.door import TokenRequest
from daypass.client.error_mapping import explain_refusal, explain_transport, not_a_door
from daypass.client.errors import NotADoorError
from daypass.client.retry import repeat
from daypass.client.token import CachedToken, usable_seconds
from daypass.client.transport import TransportError, route_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daypass.client.config import CredentialsConfig
    from daypass.client.http1 import HttpResponse
    from daypass.client.transport import Deadline, Route, Send, Timing


_TOKEN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def exchange(
    config: CredentialsConfig,
    key: tuple[str, int],
    deadline: Deadline,
    timing: Timing,
    *,
    send: Send,
    tries: int,
) -> CachedToken:
    """Exchange the subject token of this config for a short-lived token.

    `key`: audience and lifetime in seconds. `tries`: how often each request is sent at most. Raises
    the errors of `daypass.client.errors`.
    """
    token = repeat(lambda: config.subject_token.get(deadline, send), deadline, timing, tries)
    request = TokenRequest(
        door=config.door,
        identity=config.identity_of(token),
        token=token,
        audience=key[0],
        lifetime_seconds=key[1],
    )
    route = route_to(config.door.address, config.certificate_authority, tls=config.door.tls)
    return repeat(
        lambda: request_token(request, route, deadline, send=send), deadline, timing, tries
    )


def request_token(
    request: TokenRequest, route: Route, deadline: Deadline, *, send: Send
) -> CachedToken:
    """Send a TokenRequest and return the token; raises the error of the attempt."""
    requested = (deadline.clock.unix(), deadline.clock.monotonic())
    cause: BaseException | None = None
    try:
        response = send(route, request.encode(), deadline)
    except TransportError as error:
        problem, cause = explain_transport(error, request, requested[0]), error.__cause__
    else:
        if response.status in (200, 201):
            return read_token_response(response, request, requested)
        problem = explain_refusal(response, request)
    raise problem from cause  # not inside `except`: the route must not be its context


# -- the response


def read_token_response(
    response: HttpResponse, request: TokenRequest, requested: tuple[float, float]
) -> CachedToken:
    """Return the token in a 200 or 201; `requested`: when, in Unix and in monotonic seconds.

    The granted expiry counts, not the requested one. The remaining lifetime is calculated from the
    response's own Date, so that a wrong clock on this machine does no harm. Raises NotADoorError
    for anything but a TokenRequest with a token for the requested audience.
    """
    document = _document(response.body)
    if document.get("kind") != "TokenRequest":
        raise not_a_door(response, request)
    spec, status = _object(document, "spec"), _object(document, "status")
    value, audiences = status.get("token"), spec.get("audiences")
    expires_at = parse_rfc3339(str(status.get("expirationTimestamp")))
    if not isinstance(value, str) or not value or not _TOKEN.issuperset(value):
        raise _invalid(request, "contains no token")
    if len(value) > LIMIT_CHARACTERS:
        raise _invalid(request, "contains a token that is too long for a header")
    if value.rpartition(".")[0] == request.token.reveal().rpartition(".")[0]:
        # The same claims, however the signature is encoded. It must never reach a service.
        raise _invalid(request, "contains the token that was sent")
    if expires_at is None:
        raise _invalid(request, "does not contain the token's expiry")
    if len(json.dumps(audiences)) > LIMIT_CHARACTERS:
        raise _invalid(request, "contains too many audiences")
    if not isinstance(audiences, list) or request.audience not in audiences:
        raise _invalid(request, "is not for the requested audience")
    unix, monotonic = requested
    date = parse_http_date(response.header("date"))
    left = expires_at.timestamp() - (unix if date is None else date)
    granted = spec.get("expirationSeconds")
    if type(granted) is int and 0 < granted <= LONGEST_TOKEN_SECONDS:
        # No API server issues an expired token: if it seems expired, a clock is wrong.
        left = min(left, granted) if left > 0 else granted
    if left <= 0:
        raise _invalid(request, "contains an expired token")
    return CachedToken(
        value=value,
        expires_at=rfc3339(expires_at),
        audiences=json.dumps([redact(str(audience), request.token) for audience in audiences]),
        received_unix=unix,
        received_monotonic=monotonic,
        usable_seconds=usable_seconds(left),
        fresh_seconds=0.0,
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _invalid(request: TokenRequest, what: str) -> NotADoorError:
    return NotADoorError(
        f"{request.door.url} answers with a TokenRequest that {what}",
        "something between here and the API server changes its responses",
        reason="invalid-token-response",
    )
