"""Audit events as lines of JSON, from a closed list; never a token, and never without bounds.

A request that is let through from memory is no event: the proxy's own log has it, with who called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import StrEnum

from daypass._core.clock import Clock, utc
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.gateway.reasons import Reason

EVENTS_PER_SECOND = 50
_JTI = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Event(StrEnum):
    """What there is to tell."""

    TAKEN = "token-taken"
    REFUSED = "token-refused"
    REVOKED = "token-revoked"
    CLOSED = "gate-closed"
    OPENED = "gate-opened"
    UNREACHABLE = "api-server-unreachable"
    REACHED = "api-server-reached"
    SUPPRESSED = "events-suppressed"


class Audit:
    """Writes a line an event to `write`; of too many in a second only how many there were."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._second = 0
        self._left = EVENTS_PER_SECOND
        self.suppressed = 0
        self._told_suppressed = 0

    def tell(self, event: Event, why: Reason, *, user: str = "", jti: str = "") -> None:
        """An event. `user` and `jti`: of a token that the API server has taken."""
        if self._has_room():
            self._line(event, why=why, user=user, jti=jti)

    def refused(self, why: Reason, token: str) -> None:
        """A refused request; what the token says of itself is nothing that anybody has verified."""
        if self._has_room():
            self._line(Event.REFUSED, why=why, claimedJti=_jti(token))

    def _has_room(self) -> bool:
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._left = second, EVENTS_PER_SECOND
            if self.suppressed > self._told_suppressed:
                count = self.suppressed - self._told_suppressed
                self._told_suppressed = self.suppressed
                self._line(Event.SUPPRESSED, count=count)
        if self._left:
            self._left -= 1
            return True
        self.suppressed += 1
        return False

    def _line(self, event: Event, **fields: object) -> None:
        time = f"{utc(self._clock.unix()):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        told = {name: value for name, value in fields.items() if value != ""}
        try:
            self._write(json.dumps({"time": time, "event": event, **told}) + "\n")
        except OSError:  # nobody is let in or refused by what can be written
            self.suppressed += 1


def _jti(token: str) -> str:
    try:
        jti = decode_unverified(token)[1].get("jti")
    except MalformedTokenError:
        return ""
    return jti if isinstance(jti, str) and _JTI.fullmatch(jti) else ""
