"""What a good answer says: the token, until when, for whom, and the server's warnings."""

from __future__ import annotations

import json

from daypass._core.jwt import LIMIT_CHARACTERS
from daypass._core.redact import redact
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass._core.timestamps import parse_http_date, parse_rfc3339
from daypass.client.config import LONGEST_LIFETIME_SECONDS
from daypass.client.errors import NotADoorError
from daypass.client.refresh import usable_seconds
from daypass.client.refusals import describe_foreign
from daypass.client.token import CachedToken, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daypass.client.http1 import HttpResponse
    from daypass.client.token_request import TokenRequest


_TOKEN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def read_token_response(
    response: HttpResponse, order: TokenRequest, asked: tuple[float, float]
) -> CachedToken:
    """The token in a 200 or 201; `asked`: when, in seconds since the epoch and monotonic.

    The granted expiry is believed, not the one asked for. How much of it is left is reckoned from
    the answer's own Date, so that a wrong clock on this machine does no harm. Raises NotADoorError
    for what is not a TokenRequest with a token for the audience that was asked for.
    """
    document = _document(response.body)
    if document.get("kind") != "TokenRequest":
        raise describe_foreign(response, order)
    spec, status = _object(document, "spec"), _object(document, "status")
    value, audiences = status.get("token"), spec.get("audiences")
    expires_at = parse_rfc3339(str(status.get("expirationTimestamp")))
    if not isinstance(value, str) or not value or not _TOKEN.issuperset(value):
        raise _incomplete(order, "holds no token")
    if len(value) > LIMIT_CHARACTERS:
        raise _incomplete(order, "holds a token that fits into no request's headers")
    if expires_at is None:
        raise _incomplete(order, "does not say when the token expires")
    if len(json.dumps(audiences)) > LIMIT_CHARACTERS:
        raise _incomplete(order, "is for more audiences than can be kept")
    if not isinstance(audiences, list) or order.audience not in audiences:
        raise _incomplete(order, "is for somebody else than the audience that was asked for")
    unix, monotonic = asked
    date = parse_http_date(response.header("date"))
    left = expires_at.timestamp() - (unix if date is None else date)
    granted = spec.get("expirationSeconds")
    if type(granted) is int and 0 < granted <= LONGEST_LIFETIME_SECONDS:
        # No API server hands out a token that has ended: then it is a clock that is wrong.
        left = min(left, granted) if left > 0 else granted
    if left <= 0:
        raise _incomplete(order, "has ended as it comes")
    token = Token(
        value=Secret(value),
        expires_at=expires_at,
        audiences=tuple(redact(str(audience), order.token) for audience in audiences),
        warnings=parse_warnings(response.every("warning"), order.token, Secret(value)),
    )
    return CachedToken(token, unix=unix, monotonic=monotonic, usable_seconds=usable_seconds(left))


def parse_warnings(values: tuple[str, ...], *secrets: Secret) -> tuple[str, ...]:
    """The texts of `Warning: 299 - "text"` headers (RFC 7234 section 5.5), fit for a terminal."""
    return tuple(printable(redact(text, *secrets)) for value in values for text in _warnings(value))


def _warnings(value: str) -> list[str]:
    texts: list[str] = []
    rest = value.strip()
    while rest:
        code, _, rest = rest.partition(" ")
        _, quote, rest = rest.partition('"')
        if not quote:
            break
        text, rest = _unquote(rest)
        if code == "299" and text:
            texts.append(text)
        if rest.lstrip().startswith('"'):  # a date, which holds a comma of its own
            _, rest = _unquote(rest.lstrip()[1:])
        rest = rest.partition(",")[2].lstrip()
    return texts


def _unquote(text: str) -> tuple[str, str]:
    taken, characters = "", iter(text)
    for character in characters:
        if character == '"':
            break
        taken += next(characters, "") if character == "\\" else character
    return taken, "".join(characters)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _incomplete(order: TokenRequest, what: str) -> NotADoorError:
    return NotADoorError(
        f"{order.door.url} answers with a TokenRequest that {what}",
        "something between here and the API server changes its answers",
    )
