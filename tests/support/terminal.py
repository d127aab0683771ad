"""`daypass` at a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.deadline import eventually


class Terminal:
    """`daypass` with a terminal as its stdin, stdout and stderr; `written` is what it wrote."""

    def __init__(self, *arguments: str, env: Mapping[str, str], cwd: Path) -> None:
        ours, theirs = pty.openpty()

        def take_terminal() -> None:  # so that Ctrl-C typed there reaches it
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "daypass", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "NO_COLOR": "1", **env}, cwd=cwd, preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.written = ""
        self._ours = ours
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._ours, 4096)
            except OSError:  # how Linux reports that nobody has the other end any more
                return
            self.written += chunk.decode(errors="replace").replace("\r", "")

    def type(self, keys: bytes) -> None:
        """Type at the terminal."""
        os.write(self._ours, keys)

    def wait_for(self, text: str) -> None:
        """Return once this was written."""
        eventually(f"{text!r} is written", lambda: text in self.written)

    def wait(self) -> int:
        """Return the exit code, once everything is read."""
        code = self.process.wait(120)
        self._reader.join(60)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        os.close(self._ours)
