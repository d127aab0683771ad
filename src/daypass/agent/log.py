"""The agent's log: a closed list of events, written as text or as JSON lines.

An event holds names, paths, times and counts, and the fact of an error; never a token.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from daypass._core.clock import Clock
from daypass._core.jsonlog import JsonLog
from daypass._core.text import mask_unprintable


class AgentEvent(Enum):
    """Every event that is logged: its name and its level."""

    STARTED = ("started", "info")
    READY = ("ready", "info")
    RENEWED = ("renewed", "info")
    RENEWAL_FAILED = ("renewal_failed", "warning")
    TOKEN_ENDED = ("token_ended", "error")
    HOOK_FAILED = ("hook_failed", "warning")
    CREDENTIALS_CHANGED = ("credentials_changed", "info")
    RELOADED = ("reloaded", "info")
    RELOAD_REFUSED = ("reload_refused", "error")
    STOPPED = ("stopped", "info")


class AgentLog:
    """Writes events. Safe to share between threads: a line is written at once.

    `quiet`: only warnings and errors.
    """

    def __init__(
        self,
        clock: Clock,
        write: Callable[[str], None],
        *,
        as_json: bool = False,
        quiet: bool = False,
    ) -> None:
        self._write = write
        self._json = JsonLog(write, clock, "seconds") if as_json else None
        self._quiet = quiet
        self._lock = threading.Lock()

    def write(self, event: AgentEvent, message: str, **fields: str | int) -> None:
        """Write an event: `message` for people, `fields` for machines."""
        name, level = event.value
        if self._quiet and level == "info":
            return
        # A closed log must not stop renewals.
        with self._lock, suppress(OSError, ValueError):
            if self._json is not None:
                self._json.event(name, level=level, message=message, **fields)
                return
            line = f"{level}: {message}" if level != "info" else message
            self._write(f"daypass: {mask_unprintable(line)}\n")
