"""The authorizer's HTTP responses, each rendered once and sent often."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from weakref import WeakValueDictionary

from daypass._core.kubernetes.status import failure
from daypass.config import Gate
from daypass.rules.claims import CallerIdentity
from daypass.rules.reasons import (
    CODES,
    REASON_HEADER,
    STATUS_REASONS,
    UNAVAILABLE,
    Reason,
    refusal_message,
)

TO_REMOVE = "x-envoy-auth-headers-to-remove"
"""Tells Envoy which headers to remove from the request that goes on."""


class AuthzResponse:
    """One response. `http` is all of its bytes; `http_head` is for HEAD, without the body. `user`:
    the caller that passes, or "". There may be one for each of many users, so it has nothing twice.
    """

    __slots__ = ("__weakref__", "code", "http", "http_head", "reason", "user")

    def __init__(
        self,
        reason: Reason,
        code: int,
        headers: Iterable[tuple[str, str]],
        body: str = "",
        *,
        user: str = "",
    ) -> None:
        self.reason = reason
        self.code = code
        self.user = user
        sent, content = UNAVAILABLE if code == 503 else code, body.encode()
        lines = [f"HTTP/1.1 {sent} {HTTPStatus(sent).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"content-length: {len(content)}", "", ""]
        self.http_head = "\r\n".join(lines).encode()
        self.http = self.http_head + content


class AuthzResponses:
    """The responses of one gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._allowed: WeakValueDictionary[str, AuthzResponse] = WeakValueDictionary()
        self._refusals = {reason: _refused(reason, gate.audience) for reason in Reason}

    def allowed(self, identity: CallerIdentity) -> AuthzResponse:
        """Return the response that lets a request pass, the same for all tokens of its caller."""
        response = self._allowed.get(identity.user)
        if response is None:
            names = self._gate.headers
            headers = [(names.user, identity.user), (names.groups, ",".join(identity.groups))]
            if not self._gate.forward_token:
                headers.append((TO_REMOVE, "authorization"))
            response = AuthzResponse(Reason.ALLOWED, 200, headers, user=identity.user)
            self._allowed[identity.user] = response
        return response

    def refused(self, reason: Reason) -> AuthzResponse:
        """Return the refusal for a reason."""
        return self._refusals[reason]


@lru_cache(maxsize=100)
def unavailable(retry_after_seconds: int) -> AuthzResponse:
    """Return the refusal of any gate that can't decide now."""
    return _refused(Reason.UNKNOWN, "", retry_after_seconds)


def _refused(reason: Reason, audience: str, retry_after_seconds: int = 1) -> AuthzResponse:
    code = CODES.get(reason, 401)
    headers = [("content-type", "application/json"), (REASON_HEADER, str(reason))]
    if code == 401:
        headers.append(("www-authenticate", "Bearer"))
    if code == 503:
        headers.append(("retry-after", str(retry_after_seconds)))
    body = failure(code, STATUS_REASONS.get(code, ""), refusal_message(reason, audience))
    # As Envoy writes its own, so that they do not differ.
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return AuthzResponse(reason, code, headers, text + "\n")
