"""What the authorizer answers: a decision as headers and a body, made once and sent often.

What the API server has said, for as long as it counts; bounded in count and bytes.

Nothing here is a token: what is remembered is found by the SHA-256 of the exact header that brought
it, so that another header (junk after the token, another scheme) never finds it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Set
from http import HTTPStatus
from sys import intern

from daypass._core.reasons import CODES, MESSAGES, REASON_HEADER, Reason
from daypass.gate.decision import CallerIdentity
from daypass.render.envoy.filters import UNAVAILABLE
from daypass.render.envoy.replies import next_step

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


class AuthzResponse:
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


class AuthzResponses:
    """The answers of one gate. `audience`: what a refusal tells to ask tokens for."""

    def __init__(
        self, *, audience: str, user_header: str, groups_header: str, forward_token: bool
    ) -> None:
        self._user_header = user_header
        self._groups_header = groups_header
        self._removed = () if forward_token else ("authorization",)
        self._audience = audience
        self._refusals = {reason: self._refused(reason, 1) for reason in Reason}

    def allowed(self, identity: CallerIdentity) -> AuthzResponse:
        """Let the request on, as this identity."""
        headers = (
            (self._user_header, identity.user),
            (self._groups_header, ",".join(identity.groups)),
        )
        return AuthzResponse(
            Reason.ALLOWED, 200, headers, removed=self._removed, user=identity.user
        )

    def refused(self, reason: Reason, retry_after_seconds: int = 1) -> AuthzResponse:
        """Refuse it; the time counts where nobody knows right now."""
        if reason is Reason.UNKNOWN and retry_after_seconds != 1:
            return self._refused(reason, retry_after_seconds)
        return self._refusals[reason]

    def _refused(self, reason: Reason, retry_after_seconds: int) -> AuthzResponse:
        code = CODES.get(reason, 401)
        message = MESSAGES[reason]
        if code in _HINTED:
            message = f"{message} ({next_step(reason, self._audience)})"
        headers = [("content-type", "application/json"), (REASON_HEADER, str(reason))]
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
        return AuthzResponse(reason, code, headers, json.dumps(status) + "\n")


LIMIT_ENTRIES = 200_000
LIMIT_BYTES = 128 * 1024 * 1024
ENTRY_BYTES = 400
"""Of an entry without its `jti`, with what the tables around it take: measured, and rounded up."""
SWEEP = 2_000
"""How many of the oldest entries are looked at for their end at a time."""


class CachedDecision:
    """A good answer. Times are seconds of a monotonic clock; names are those of the claims.

    `fresh_until`: from then on it is to be asked about again, beside; from `until` on it is gone.
    """

    __slots__ = ("account", "answer", "fresh_until", "jti", "namespace", "secret", "until")

    def __init__(
        self,
        answer: AuthzResponse,
        *,
        fresh_until: float,
        until: float,
        secret: str = "",
        account: str = "",
        jti: str = "",
        namespace: str = "",
    ) -> None:
        self.answer = answer
        self.fresh_until = fresh_until
        self.until = until
        self.secret = intern(secret)  # one for all tokens that hang on it
        self.account = intern(account)
        self.jti = jti
        self.namespace = intern(namespace)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return ENTRY_BYTES + len(self.jti)


class DecisionCache:
    """Good answers by key, the oldest first. What is full forgets the oldest."""

    def __init__(
        self, *, limit_entries: int = LIMIT_ENTRIES, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._limit_entries = limit_entries
        self._limit_bytes = limit_bytes
        self.entries: dict[bytes, CachedDecision] = {}
        """For lookups on the path of a request; nobody else writes to it."""
        self._named: Counter[str] = Counter()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def size_bytes(self) -> int:
        """About how much memory all entries take."""
        return self._bytes

    def put(self, key: bytes, entry: CachedDecision) -> None:
        """Remember an answer, as the newest."""
        self.forget(key)
        self.entries[key] = entry
        self._bytes += entry.size_bytes
        self._named.update(_uids(entry))
        while len(self.entries) > self._limit_entries or self._bytes > self._limit_bytes:
            self.forget(next(iter(self.entries)))

    def forget(self, key: bytes) -> None:
        """Remember it no more, if it was there."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= entry.size_bytes
        for uid in _uids(entry):
            self._named[uid] -= 1
            if not self._named[uid]:
                del self._named[uid]

    def forget_named(
        self, uids: Iterable[str], tokens: Set[str], namespaces: Set[str]
    ) -> list[CachedDecision]:
        """Forget what hangs on one of these; gives back what was forgotten."""
        gone = {uid for uid in uids if uid in self._named}
        if not (gone or tokens or namespaces):
            return []  # as nearly always: all entries are looked at only for one that concerns them
        found = {
            key: entry
            for key, entry in self.entries.items()
            if entry.secret in gone
            or entry.account in gone
            or entry.jti in tokens
            or entry.namespace in namespaces
        }
        for key in found:
            self.forget(key)
        return list(found.values())

    def sweep(self, now: float) -> None:
        """Forget what has ended among the oldest."""
        oldest = [key for key, _ in zip(self.entries, range(SWEEP), strict=False)]
        for key in oldest:
            if self.entries[key].until <= now:
                self.forget(key)


def _uids(entry: CachedDecision) -> set[str]:
    return {uid for uid in (entry.secret, entry.account) if uid}


class RefusalCache:
    """The keys of tokens that the API server has just refused, each until its end."""

    def __init__(self, *, limit_entries: int) -> None:
        self._limit_entries = limit_entries
        self._until: dict[bytes, tuple[float, AuthzResponse]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def get(self, key: bytes, now: float) -> AuthzResponse | None:
        """The answer to it, if it still counts."""
        found = self._until.get(key)
        if found is None or found[0] <= now:
            return None
        return found[1]

    def put(self, key: bytes, until: float, answer: AuthzResponse) -> None:
        """Remember it until then; the oldest makes room."""
        self._until.pop(key, None)
        self._until[key] = (until, answer)
        if len(self._until) > self._limit_entries:
            del self._until[next(iter(self._until))]
