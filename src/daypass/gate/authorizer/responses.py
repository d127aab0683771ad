"""The authorizer's HTTP responses, each rendered once and sent often."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from daypass._core.k8s_status import failure
from daypass.config import Gate
from daypass.render.envoy.authorizer_filters import UNAVAILABLE
from daypass.render.envoy.replies import STATUS_REASONS, refusal_message
from daypass.rules.claims import CallerIdentity
from daypass.rules.reasons import CODES, REASON_HEADER, Reason

TO_REMOVE = "x-envoy-auth-headers-to-remove"
"""Tells Envoy which headers to remove from the request that goes on."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class AuthzResponse:
    """One response. `http` is all of its bytes; `http_head` is for HEAD, without the body.

    `headers`: added to the request that goes on, or sent with the refusal. `user`: the caller that
    passes, or "".
    """

    reason: Reason
    code: int
    headers: Sequence[tuple[str, str]]
    body: str = ""
    user: str = ""
    http: bytes = field(init=False)
    http_head: bytes = field(init=False)

    def __post_init__(self) -> None:
        sent, body = UNAVAILABLE if self.code == 503 else self.code, self.body.encode()
        lines = [f"HTTP/1.1 {sent} {HTTPStatus(sent).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"content-length: {len(body)}", "", ""]
        self.http_head = "\r\n".join(lines).encode()
        self.http = self.http_head + body


class AuthzResponses:
    """The responses of one gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._refusals = {reason: self._refused(reason, 1) for reason in Reason}

    def allowed(self, identity: CallerIdentity) -> AuthzResponse:
        """Return the response that lets a request pass, with the identity of its caller."""
        headers = [
            (self._gate.headers.user, identity.user),
            (self._gate.headers.groups, ",".join(identity.groups)),
        ]
        if not self._gate.forward_token:
            headers.append((TO_REMOVE, "authorization"))
        return AuthzResponse(Reason.ALLOWED, 200, headers, user=identity.user)

    def refused(self, reason: Reason, retry_after_seconds: int = 1) -> AuthzResponse:
        """Return the refusal for a reason; the time is used with Reason.UNKNOWN only."""
        if reason is Reason.UNKNOWN and retry_after_seconds != 1:
            return self._refused(reason, retry_after_seconds)
        return self._refusals[reason]

    def _refused(self, reason: Reason, retry_after_seconds: int) -> AuthzResponse:
        code = CODES.get(reason, 401)
        headers = [("content-type", "application/json"), (REASON_HEADER, str(reason))]
        if code == 401:
            headers.append(("www-authenticate", "Bearer"))
        if code == 503:
            headers.append(("retry-after", str(retry_after_seconds)))
        message = refusal_message(reason, self._gate.audience)
        body = failure(code, STATUS_REASONS.get(code, ""), message)
        return AuthzResponse(reason, code, headers, json.dumps(body) + "\n")
