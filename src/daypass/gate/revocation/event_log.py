"""What the watch of a cluster does, as JSON lines for a log: a closed list of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum

from daypass._core.clock import Clock, utc


class WatchEvent(StrEnum):
    """One word for everything that is told."""

    STARTED = "started"
    LEADING = "leading"
    FOLLOWING = "following"
    """Another one publishes."""
    REVOKED = "revoked"
    """A UID, a `jti` or a namespace is refused from now on."""
    PUBLISHED = "published"
    NOT_PUBLISHED = "not-published"
    CLOSED = "closed"
    OPENED = "opened"
    KEYS = "keys"
    NAMESPACE_FOLLOWED = "namespace-followed"
    NAMESPACE_NOT_FOLLOWED = "namespace-not-followed"
    PUT_BACK = "put-back"
    """Somebody else had changed or deleted what is published."""
    TROUBLE = "trouble"
    TROUBLE_OVER = "trouble-over"
    RECORD_LOST = "record-lost"
    """Tokens issued before are refused: nobody knows what of them was revoked."""
    STOPPED = "stopped"


LogEvent = Callable[..., None]
"""Called with an Event and its fields by name."""


class EventLog:
    """Writes events, each a line with its time. `write` gets whole lines."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock

    def __call__(self, event: WatchEvent, **fields: object) -> None:
        """Tell one."""
        time = f"{utc(self._clock.unix()):%Y-%m-%dT%H:%M:%S.%fZ}"
        self._write(json.dumps({"time": time, "event": event.value, **fields}) + "\n")
