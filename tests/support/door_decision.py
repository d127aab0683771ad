"""The door's decision about a request, in Python: what a real Envoy is compared with."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from daypass._core.net import bracketed
from daypass.config.exposure import CHECK_BODY_LIMIT_BYTES, MEDIA_TYPE, Exposure
from daypass.rules.claims import BEARER_JWT


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


def publishes(exposure: Exposure, target: str) -> bool:
    """Whether a request target, as it came over the wire, is a TokenRequest's."""
    return all(re.fullmatch(pattern, target) for pattern in exposure.path_patterns)


def judge(exposure: Exposure, request: DoorRequest) -> Verdict:
    """Return what the door does with a request. The order is that of the door."""
    # 1. The size: the door buffers a whole request first.
    if request.body_bytes > exposure.body_limit_bytes:
        return Verdict.TOO_LARGE
    # 2. Host and path, before all that a scanner could learn from.
    named = _without_port(request.host) in map(bracketed, exposure.hosts)
    if not named or not publishes(exposure, request.target):
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
