"""What the authorizer counts, in the text format of Prometheus. No label has endless values.

Audit events as lines of JSON, from a closed list; never a token, and never without bounds.

A request that is let through from memory is no event: the proxy's own log has it, with who called.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from enum import StrEnum

from daypass._core.clock import Clock, utc
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.reasons import Reason

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Plain numbers; whoever changes them is the only one."""

    def __init__(self) -> None:
        self.decisions = dict.fromkeys(Reason, 0)
        self.remembered = 0
        self.remembered_refusals = 0
        self.unseen = 0
        self.evicted = 0
        self.denied = 0
        self.revoked_at: float | None = None
        self.answered = 0
        self.failed = 0
        self._buckets = [0] * (len(BUCKETS_SECONDS) + 1)
        self._seconds = 0.0

    def reviewed(self, seconds: float, *, is_answered: bool) -> None:
        """A TokenReview has ended."""
        self._buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self._seconds += seconds
        if is_answered:
            self.answered += 1
        else:
            self.failed += 1

    def lines(self) -> Iterator[str]:
        """The counters and the histogram."""
        yield from _header("decisions_total", "counter", "Decisions, by how they ended.")
        for reason, count in self.decisions.items():
            whole = count + (self.remembered if reason is Reason.ALLOWED else 0)
            yield f'daypass_gate_decisions_total{{reason="{reason}"}} {whole}'
        yield from _header("cache_lookups_total", "counter", "What was found in the cache.")
        for result, count in (
            ("hit", self.remembered),
            ("refused", self.remembered_refusals),
            ("miss", self.unseen),
        ):
            yield f'daypass_gate_cache_lookups_total{{result="{result}"}} {count}'
        yield from _header("reviews_total", "counter", "TokenReviews, by how they ended.")
        yield f'daypass_gate_reviews_total{{result="answered"}} {self.answered}'
        yield f'daypass_gate_reviews_total{{result="failed"}} {self.failed}'
        yield from counter("evicted_total", "Entries that a revocation has ended.", self.evicted)
        yield from self._histogram()

    def _histogram(self) -> Iterator[str]:
        name = "review_seconds"
        yield from _header(name, "histogram", "How long TokenReviews took.")
        total = 0
        for bound, count in zip(BUCKETS_SECONDS, self._buckets, strict=False):
            total += count
            yield f'daypass_gate_{name}_bucket{{le="{bound:g}"}} {total}'
        total += self._buckets[-1]
        yield f'daypass_gate_{name}_bucket{{le="+Inf"}} {total}'
        yield f"daypass_gate_{name}_sum {self._seconds:.6f}"
        yield f"daypass_gate_{name}_count {total}"


def gauge(name: str, text: str, value: float) -> Iterator[str]:
    """A gauge without labels."""
    yield from _header(name, "gauge", text)
    yield f"daypass_gate_{name} {value:g}"


def counter(name: str, text: str, value: float) -> Iterator[str]:
    """A counter without labels."""
    yield from _header(name, "counter", text)
    yield f"daypass_gate_{name} {value:.0f}"


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP daypass_gate_{name} {text}"
    yield f"# TYPE daypass_gate_{name} {kind}"


EVENTS_PER_SECOND = 50
_JTI = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class AuditEvent(StrEnum):
    """What there is to tell."""

    TAKEN = "token-taken"
    REFUSED = "token-refused"
    REVOKED = "token-revoked"
    CLOSED = "gate-closed"
    OPENED = "gate-opened"
    UNREACHABLE = "api-server-unreachable"
    REACHED = "api-server-reached"
    SUPPRESSED = "events-suppressed"


class AuditLog:
    """Writes a line an event to `write`; of too many in a second only how many there were."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._second = 0
        self._left = EVENTS_PER_SECOND
        self.suppressed = 0
        self._told_suppressed = 0

    def tell(self, event: AuditEvent, why: Reason, *, user: str = "", jti: str = "") -> None:
        """An event. `user` and `jti`: of a token that the API server has taken."""
        if self._has_room():
            self._line(event, why=why, user=user, jti=jti)

    def refused(self, why: Reason, token: str) -> None:
        """A refused request; what the token says of itself is nothing that anybody has verified."""
        if self._has_room():
            self._line(AuditEvent.REFUSED, why=why, claimedJti=_jti(token))

    def _has_room(self) -> bool:
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._left = second, EVENTS_PER_SECOND
            if self.suppressed > self._told_suppressed:
                count = self.suppressed - self._told_suppressed
                self._told_suppressed = self.suppressed
                self._line(AuditEvent.SUPPRESSED, count=count)
        if self._left:
            self._left -= 1
            return True
        self.suppressed += 1
        return False

    def _line(self, event: AuditEvent, **fields: object) -> None:
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
