"""What a process that runs for long needs: a log of events as JSON lines, open files, its end."""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from daypass._core.clock import Clock, utc

MAX_OPEN_FILES = 65_536


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
    """Writes events through `write`, one whole line each."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock

    def event(self, event: str, **fields: object) -> None:
        """Write one event. Raises what `write` raises."""
        time = utc(self._clock.unix()).replace(tzinfo=None).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": f"{time}Z", "event": event, **fields}) + "\n")


def allow_many_files() -> None:
    """Raise the limit of open files as far as it goes, as Envoy and programs in Go do.

    Service managers and shells set 1024, for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system's own limit may be lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def handle_end_signals(handle: Callable[[], object]) -> None:
    """Call `handle` at Ctrl-C, at SIGTERM, and when the terminal is closed, unless nohup ignores
    that.

    On a thread of its own: the main thread may hold a lock that `handle` needs, of an Event, say.
    """
    received: SimpleQueue[int] = SimpleQueue()  # its `put` may interrupt another call of it

    def wait() -> None:
        while received.get():
            handle()

    Thread(target=wait, name="daypass-signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: received.put(number))
