"""What the authorizer answers: a decision as headers and a body, made once and sent often."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus

from daypass.gateway.decision import Identity
from daypass.gateway.reasons import CODES, MESSAGES, Reason
from daypass.render.envoy.refusals import next_step
from daypass.render.envoy.review import UNAVAILABLE

_STATUS_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    503: "ServiceUnavailable",
}
"""`reason` of a Kubernetes Status, by its code."""
_HINTED = (401, 403)
TO_REMOVE = "x-envoy-auth-headers-to-remove"
"""An answer over HTTP names in it which headers Envoy has to take off the request."""


class Answer:
    """An answer in the form of each transport. `http` and `http_head`: all bytes of a response.

    `headers`: of the request that goes on, or of the refusal. `user`: who is let through.
    """

    __slots__ = (
        "__weakref__",
        "body",
        "code",
        "headers",
        "http",
        "http_head",
        "reason",
        "removed",
        "user",
    )

    def __init__(
        self,
        reason: Reason,
        code: int,
        headers: Iterable[tuple[str, str]],
        body: str = "",
        removed: tuple[str, ...] = (),
        user: str = "",
    ) -> None:
        self.reason = reason
        self.code = code
        self.headers = tuple(headers)
        self.body = body
        self.removed = removed
        self.user = user
        spoken = UNAVAILABLE if code == 503 else code
        lines = [f"HTTP/1.1 {spoken} {HTTPStatus(spoken).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if removed:
            lines.append(f"{TO_REMOVE}: {','.join(removed)}")
        lines += [f"content-length: {len(body.encode())}", "", ""]
        self.http_head = "\r\n".join(lines).encode()
        self.http = self.http_head + body.encode()

    @property
    def is_allowed(self) -> bool:
        """Whether the request goes on."""
        return self.reason is Reason.ALLOWED


class Answers:
    """The answers of one gate. `audience`: what a refusal tells to ask tokens for."""

    def __init__(
        self, *, audience: str, user_header: str, groups_header: str, forward_token: bool
    ) -> None:
        self._user_header = user_header
        self._groups_header = groups_header
        self._removed = () if forward_token else ("authorization",)
        self._audience = audience
        self._refusals = {reason: self._refused(reason, 1) for reason in Reason}

    def allowed(self, identity: Identity) -> Answer:
        """Let the request on, as this identity."""
        headers = (
            (self._user_header, identity.user),
            (self._groups_header, ",".join(identity.groups)),
        )
        return Answer(Reason.ALLOWED, 200, headers, removed=self._removed, user=identity.user)

    def refused(self, reason: Reason, retry_after_seconds: int = 1) -> Answer:
        """Refuse it; the time counts where nobody knows right now."""
        if reason is Reason.UNKNOWN and retry_after_seconds != 1:
            return self._refused(reason, retry_after_seconds)
        return self._refusals[reason]

    def _refused(self, reason: Reason, retry_after_seconds: int) -> Answer:
        code = CODES.get(reason, 401)
        message = MESSAGES[reason]
        if code in _HINTED:
            message = f"{message} ({next_step(reason, self._audience)})"
        headers = [("content-type", "application/json")]
        if code == 401:
            headers.append(("www-authenticate", "Bearer"))
        if code == 503:
            headers.append(("retry-after", str(retry_after_seconds)))
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": _STATUS_REASONS.get(code, ""),
            "code": code,
        }
        return Answer(reason, code, headers, json.dumps(status) + "\n")
