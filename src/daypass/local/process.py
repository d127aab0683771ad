"""Children that do not outlive us, and a way to wait for them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def start_child(
    command: Sequence[str],
    *,
    output: IO[bytes] | int,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that Ctrl-C reaches us alone and we end it in order.

    On Linux the kernel ends it should we be killed. Its output, both kinds, goes to `output`.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()) if _LIBC is not None else None,
    )


def _die_with(parent: int) -> Callable[[], None]:
    libc = _LIBC

    def ask() -> None:
        # Runs between fork and exec: one system call, and no import.
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def stop_child(child: subprocess.Popen[bytes], *, patience_seconds: float) -> None:
    """End a child: ask, wait for at most `patience_seconds`, then kill. Safe to call twice."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            child.wait(timeout=patience_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
