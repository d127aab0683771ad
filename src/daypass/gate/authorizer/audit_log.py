"""The authorizer's audit events: a closed list, limited in number, and without tokens.

A request that passes from the cache is no event: the proxy's access log has it, with the caller.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from daypass._core.clock import Clock
from daypass._core.jwt import unverified_claims
from daypass._core.server import JsonLog
from daypass.rules.reasons import Reason

EVENTS_PER_SECOND = 50
_JTI = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class AuditEvent(StrEnum):
    """Every event that is ever logged."""

    ACCEPTED = "token-accepted"
    """A gate accepts a token for the first time: `gate`, `user`, `jti`, and the `client`: its
    address, or the /64 network of an IPv6 one."""
    REFUSED = "token-refused"
    """A request is refused: `gate`, `why`, and the `claimedJti` of its token, which is not
    verified."""
    MODEL_REFUSED = "model-refused"
    """A caller may not use a `model` (RESOURCE NAMESPACE/NAME), or no model exists where it asks
    for one: `gate`, `user`."""
    REVOKED = "token-revoked"
    """An accepted token is refused from now on, since its credential was deleted or denied: `gate`,
    `why`, `user`, `jti`."""
    CLOSED = "gate-closed"
    """Every token is refused that belongs to one of so many `shards` of the published set: they are
    missing or out of date."""
    OPENED = "gate-opened"
    """No shard is."""
    UNREACHABLE = "api-server-unreachable"
    """The API server does not answer `reviews`: TokenReviews or SubjectAccessReviews."""
    REACHED = "api-server-reached"
    """It answers these `reviews` again."""
    SUPPRESSED = "events-suppressed"
    """`count` events were not written, since there were too many in a second."""


class AuditLog:
    """Writes events; of those of a kind beyond EVENTS_PER_SECOND it writes their number only. So
    refused requests, which any client can cause, hide no other events.

    `suppressed`: how many events were not written.
    """

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self.suppressed = 0
        self._log = JsonLog(write, clock)
        self._clock = clock
        self._second = 0
        self._written: Counter[AuditEvent] = Counter()
        self._reported = 0

    def event(self, event: AuditEvent, why: Reason, **fields: object) -> None:
        """Log an event. `user` and `jti` are those of a token that the API server has accepted."""
        if self._has_room(event):
            self._write(event, why=why, **fields)

    def refused(self, gate: str, why: Reason, token: str) -> None:
        """Log a refused request. The `jti` that the token claims is not verified."""
        if self._has_room(AuditEvent.REFUSED):
            self._write(AuditEvent.REFUSED, gate=gate, why=why, claimedJti=_jti(token))

    def _has_room(self, event: AuditEvent) -> bool:
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._written = second, Counter()
            if self.suppressed > self._reported:
                count = self.suppressed - self._reported
                self._reported = self.suppressed
                self._write(AuditEvent.SUPPRESSED, count=count)
        if self._written[event] < EVENTS_PER_SECOND:
            self._written[event] += 1
            return True
        self.suppressed += 1
        return False

    def _write(self, event: AuditEvent, **fields: object) -> None:
        try:
            self._log.event(event, **{name: value for name, value in fields.items() if value != ""})
        except OSError:  # a full disk must not change any decision
            self.suppressed += 1


def _jti(token: str) -> str:
    jti = unverified_claims(token).get("jti")
    return jti if isinstance(jti, str) and _JTI.fullmatch(jti) else ""
