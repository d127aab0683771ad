"""What the agent logs: a closed list of events, as lines for people or as JSON lines.

An event holds names, paths, times and counts, and the fact of an error; never a token.
"""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from daypass._core.clock import Clock, utc
from daypass._core.timestamps import rfc3339


class AgentEvent(Enum):
    """Everything that is ever logged, with how loud it is."""

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

    `quiet`: only what went wrong.
    """

    def __init__(
        self,
        clock: Clock,
        write: Callable[[str], None],
        *,
        as_json: bool = False,
        quiet: bool = False,
    ) -> None:
        self._clock = clock
        self._write = write
        self._as_json = as_json
        self._quiet = quiet
        self._lock = threading.Lock()

    def tell(self, event: AgentEvent, message: str, **fields: str | int) -> None:
        """One event: a sentence for people, and what it is about for machines."""
        name, level = event.value
        if self._quiet and level == "info":
            return
        if self._as_json:
            document = {
                "time": rfc3339(utc(self._clock.unix())),
                "level": level,
                "event": name,
                "message": message,
                **fields,
            }
            line = json.dumps(document)
        else:
            words = f"{level}: {message}" if level != "info" else message
            line = "daypass: " + "".join(c if c.isprintable() else " " for c in words)
        # Whoever reads the log may have gone; that is no reason to let tokens end.
        with self._lock, suppress(OSError, ValueError):
            self._write(line + "\n")
