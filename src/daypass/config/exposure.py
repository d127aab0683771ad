"""The one definition of what passes the door.

Envoy decides, by the routes that `render` makes of these patterns. `Exposure.judge` is the same
decision in Python, with which tests compare Envoy. Python and RE2 read the patterns alike. They
match the whole text of the request target as it came over the wire. Nothing is decoded, merged or
resolved first: Go's router decodes the path, so `bot%2ftoken` would reach TokenRequest, too.
"""

import enum
import re
from dataclasses import dataclass

from daypass._core.k8s_names import LABEL, SUBDOMAIN, SUBDOMAIN_LENGTH
from daypass._core.net import bracketed

BEARER_JWT = r"Bearer [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
"""Exactly one scheme, one space, one JWT. The API server accepts the scheme in any case and ignores
what follows the token; two spaces or a tab make the request anonymous there. It and a proxy must
never read the header differently, so only the form that all read alike passes."""

SERVICE_ACCOUNT_USER = r"system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+"
"""`sub` of a ServiceAccount's token. The API server has checked the lengths."""


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

BODY_LIMIT_BYTES = 8 * 1024
CHECK_BODY_LIMIT_BYTES = 1
"""A GET has no body; one byte is the smallest limit that Envoy accepts."""


class Verdict(enum.Enum):
    """What the door does with a request: forward it, or answer with this code."""

    PASS = 200
    NOT_PUBLISHED = 404
    METHOD_NOT_ALLOWED = 405
    UNAUTHORIZED = 401
    TOO_LARGE = 413
    UNSUPPORTED_MEDIA_TYPE = 415


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRequest:
    """A request as it came over the wire. Header names in lower case; `target` undecoded."""

    method: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body_bytes: int = 0

    def header(self, name: str) -> str | None:
        """Return a header's value, or None. Several are joined by a comma, without empty ones, as
        Envoy does before it matches and forwards them.
        """
        values = [value for key, value in self.headers if key == name]
        return ",".join(filter(None, values)) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """TokenRequest under `prefix` on `hosts`, and nothing else.

    `hosts`: names in lower case or addresses, without ports and brackets. `prefix` begins with a
    slash and does not end with one.
    """

    prefix: str
    hosts: tuple[str, ...]
    body_limit_bytes: int = BODY_LIMIT_BYTES

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

    def publishes(self, target: str) -> bool:
        """Whether a request target, as it came over the wire, is a TokenRequest's."""
        return all(re.fullmatch(pattern, target) for pattern in self.path_patterns)

    def judge(self, request: DoorRequest) -> Verdict:
        """Return what the door does with a request. The order is that of the door."""
        # 1. The size: the door buffers a whole request first.
        if request.body_bytes > self.body_limit_bytes:
            return Verdict.TOO_LARGE
        # 2. Host and path, before all that a scanner could learn from.
        named = _without_port(request.host) in map(bracketed, self.hosts)
        if not named or not self.publishes(request.target):
            return Verdict.NOT_PUBLISHED
        # 3. The method.
        if request.method not in ("GET", "POST"):
            return Verdict.METHOD_NOT_ALLOWED
        # 4. The token. A GET may come without: the API server's own 403 shows the way works.
        authorization = request.header("authorization")
        if authorization is None:
            if request.method == "POST":
                return Verdict.UNAUTHORIZED
        elif not re.fullmatch(BEARER_JWT, authorization):
            return Verdict.UNAUTHORIZED
        # 5. The body.
        if not re.fullmatch(MEDIA_TYPE, request.header("content-type") or ""):
            return Verdict.UNSUPPORTED_MEDIA_TYPE
        if request.method == "GET" and request.body_bytes > CHECK_BODY_LIMIT_BYTES:
            return Verdict.TOO_LARGE
        return Verdict.PASS


def _without_port(host: str) -> str:
    """Return the host in a Host header. The port is ignored: clients may reach the door through
    any port.
    """
    name, colon, port = host.lower().rpartition(":")
    return name if colon and "]" not in port else host.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of the door itself, in the fields of a Kubernetes Status."""

    code: int
    reason: str
    message: str


def refusals(exposure: Exposure) -> tuple[Refusal, ...]:
    """Return every answer that the door itself gives, by code."""
    published = f"{exposure.path_prefix}<namespace>/serviceaccounts/<name>/token"
    texts = {
        400: ("BadRequest", "the request is not HTTP as the door reads it"),
        401: (
            "Unauthorized",
            "the door needs exactly one 'Authorization: Bearer <token>' header: "
            "one space, a JSON Web Token, nothing after it",
        ),
        403: ("Forbidden", "the door does not change protocols"),
        404: ("NotFound", f"nothing is published here but the TokenRequest API: POST {published}"),
        405: (
            "MethodNotAllowed",
            f"the TokenRequest API takes POST (GET to check the way): {published}",
        ),
        408: ("Timeout", "the request did not arrive in time"),
        413: (
            "RequestEntityTooLarge",
            f"a TokenRequest through the door has at most {exposure.body_limit_bytes} bytes",
        ),
        415: (
            "UnsupportedMediaType",
            "a TokenRequest is sent as application/json or application/vnd.kubernetes.protobuf",
        ),
        426: ("BadRequest", "the door speaks HTTP/1.1 and HTTP/2"),
        429: ("TooManyRequests", "too many requests at the door, try again later"),
        431: ("RequestHeaderFieldsTooLarge", "the request's headers are too large"),
        500: ("InternalError", "the door could not handle the request"),
        501: ("NotImplemented", "the door reads 'Transfer-Encoding: chunked' and no other"),
        502: ("BadGateway", "the API server's answer is not HTTP"),
        503: ("ServiceUnavailable", "the door cannot reach the API server, or does not trust it"),
        504: ("Timeout", "the API server did not answer in time"),
    }
    return tuple(
        Refusal(code=code, reason=reason, message=message)
        for code, (reason, message) in sorted(texts.items())
    )
