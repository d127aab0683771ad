"""The agent's log: a closed list of events, written as text or as JSON lines.

An event holds names, paths, times and counts, and the fact of an error; never a token.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from daypass._core.clock import Clock
from daypass._core.server import JsonLog
from daypass._core.text import mask_unprintable


class AgentEvent(Enum):
    """Every event that is logged: its name and its level."""

    STARTED = ("started", "info")
    """The config is read, the endpoints are open: `tokens`, how many files."""
    READY = ("ready", "info")
    """Every file has a valid token, for the first time."""
    RENEWED = ("renewed", "info")
    """A file has a new token: `path`, `expires_at`."""
    RENEWAL_FAILED = ("renewal_failed", "warning")
    """A renewal failed: `path`, `error`, `failures` in a row, `again_in_seconds`."""
    TOKEN_EXPIRED = ("token_expired", "error")
    """The token in a file has expired and could not be renewed: `path`."""
    HOOK_FAILED = ("hook_failed", "warning")
    """A file was renewed, and a hook failed: `path`, the number of the `hook`."""
    CREDENTIALS_CHANGED = ("credentials_changed", "info")
    """The credentials have changed; all files are renewed."""
    STOPPED = ("stopped", "info")
    """The agent stopped in order."""


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
        self._json = JsonLog(write, clock) if as_json else None
        self._quiet = quiet
        self._lock = threading.Lock()
        # What the client logs to programs that use it, this log has as an event.
        logging.getLogger("daypass").addHandler(logging.NullHandler())

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
