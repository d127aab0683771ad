"""What passes the door: the patterns of paths and media types, headers and limits; and refusals.

Envoy decides, by the routes that `render/envoy/door_routes.py` makes of them. Patterns match the
whole text of the request target as it came over the wire. Nothing is decoded, merged or resolved
first: Go's router decodes the path, so `bot%2ftoken` would reach TokenRequest, too. Python and RE2
read them alike: tests compare Envoy with the same decision in Python (`tests/support`).
"""

import re
from dataclasses import dataclass

from daypass._core.kubernetes.syntax import LABEL, SUBDOMAIN, SUBDOMAIN_LENGTH


def _any_case(text: str) -> str:
    """Return a pattern for ASCII text in any case; `(?i)` would also match U+017F for an s."""
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else re.escape(c) for c in text)


_SUBTYPE = f"({_any_case('json')}|{_any_case('vnd.kubernetes.protobuf')})"
_UTF_8 = rf'([ \t]*;[ \t]*{_any_case("charset=")}"?{_any_case("utf-8")}"?)?'
MEDIA_TYPE = f"(|{_any_case('application/')}{_SUBTYPE}{_UTF_8})"
"""JSON, Kubernetes' protobuf (what kubectl sends), or none, which the API server reads as JSON."""

REQUEST_HEADERS = (
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "traceparent",
    "user-agent",
    "x-forwarded-for",  # written by the door, never the client's own
    "x-request-id",
)
"""The headers that are forwarded to the API server; none of them can impersonate somebody."""

DOOR_BODY_LIMIT_BYTES = 8 * 1024
"""Of a TokenRequest, which has a few hundred bytes."""
CHECK_BODY_LIMIT_BYTES = 1
"""A GET has no body; one byte is the smallest limit that Envoy accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """TokenRequest under `prefix` on `hosts`, and nothing else.

    `hosts`: names in lower case or addresses, without ports and brackets. `prefix` begins with a
    slash and does not end with one.
    """

    prefix: str
    hosts: tuple[str, ...]
    body_limit_bytes: int = DOOR_BODY_LIMIT_BYTES

    @property
    def path_prefix(self) -> str:
        """The text that every published path begins with."""
        return f"{self.prefix}/api/v1/namespaces/"

    @property
    def path_patterns(self) -> tuple[str, ...]:
        """Patterns that a whole request target has to match, all of them.

        The first is the grammar. The second bounds the length of the ServiceAccount's name; a
        single pattern for both would be larger than Envoy allows.
        """
        start = re.escape(self.path_prefix)
        return (
            f"{start}{LABEL}/serviceaccounts/{SUBDOMAIN}/token",
            f"{start}[^/]*/serviceaccounts/[^/]{{1,{SUBDOMAIN_LENGTH}}}/token",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of the door itself, in the fields of a Kubernetes Status.

    `word`: of the header `daypass-reason`. None is a Reason of the gate: a client tells the gate
    from the door by that.
    """

    code: int
    reason: str
    word: str
    message: str


def refusals(exposure: Exposure) -> tuple[Refusal, ...]:
    """Return every answer that the door itself gives, by code."""
    published = f"{exposure.path_prefix}<namespace>/serviceaccounts/<name>/token"
    texts = {
        400: ("BadRequest", "malformed-request", "the request is not HTTP as the door reads it"),
        401: (
            "Unauthorized",
            "unauthorized",
            "the door needs exactly one 'Authorization: Bearer <token>' header: "
            "one space, a JSON Web Token, nothing after it",
        ),
        403: ("Forbidden", "upgrade", "the door does not change protocols"),
        404: (
            "NotFound",
            "not-published",
            f"nothing is published here but the TokenRequest API: POST {published}",
        ),
        405: (
            "MethodNotAllowed",
            "method-not-allowed",
            f"the TokenRequest API takes POST (GET to check the way): {published}",
        ),
        408: ("Timeout", "request-timeout", "the request did not arrive in time"),
        413: (
            "RequestEntityTooLarge",
            "too-large",
            f"a TokenRequest through the door has at most {exposure.body_limit_bytes} bytes",
        ),
        415: (
            "UnsupportedMediaType",
            "unsupported-media-type",
            "a TokenRequest is sent as application/json or application/vnd.kubernetes.protobuf",
        ),
        426: ("BadRequest", "http-version", "the door speaks HTTP/1.1 and HTTP/2"),
        429: (
            "TooManyRequests",
            "too-many-requests",
            "too many requests at the door, try again later",
        ),
        431: (
            "RequestHeaderFieldsTooLarge",
            "headers-too-large",
            "the request's headers are too large",
        ),
        500: ("InternalError", "internal-error", "the door could not handle the request"),
        501: (
            "NotImplemented",
            "transfer-encoding",
            "the door reads 'Transfer-Encoding: chunked' and no other",
        ),
        502: ("BadGateway", "bad-gateway", "the API server's answer is not HTTP"),
        503: (
            "ServiceUnavailable",
            "api-server-unreachable",
            "the door cannot reach the API server, or does not trust it",
        ),
        504: ("Timeout", "api-server-timeout", "the API server did not answer in time"),
    }
    return tuple(
        Refusal(code=code, reason=reason, word=word, message=message)
        for code, (reason, word, message) in sorted(texts.items())
    )
