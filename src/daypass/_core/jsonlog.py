"""A log of events for machines: each event is one line of JSON with its time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from daypass._core.clock import Clock, utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Precision = Literal["seconds", "milliseconds", "microseconds"]


def write_stdout(line: str) -> None:
    """Write a line to stdout at once. Raises OSError."""
    sys.stdout.write(line)
    sys.stdout.flush()


def write_stderr(line: str) -> None:
    """Write a line to stderr at once, unless it was closed before the start. Raises OSError."""
    if sys.stderr is not None:
        sys.stderr.write(line)
        sys.stderr.flush()


class JsonLog:
    """Writes events through `write`, one whole line each. `precision`: of their times."""

    def __init__(
        self, write: Callable[[str], None], clock: Clock, precision: Precision = "microseconds"
    ) -> None:
        self._write = write
        self._clock = clock
        self._precision = precision

    def event(self, event: str, **fields: object) -> None:
        """Write one event. Raises what `write` raises."""
        time = utc(self._clock.unix()).replace(tzinfo=None).isoformat(timespec=self._precision)
        self._write(json.dumps({"time": f"{time}Z", "event": event, **fields}) + "\n")
