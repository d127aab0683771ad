"""Programs at a terminal of their own, and what a person would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.deadline import eventually

_SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")


class Terminal:
    """`daypass` (or `-c PROGRAM`) with a terminal as its stderr and, unless `pipe`, as its stdout.

    `written` is what came through the terminal so far, `out` what came through the pipe.
    """

    def __init__(
        self, *arguments: str, pipe: bool = False, env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:  # fmt: skip
        env = env or {}
        program = () if arguments[0] == "-c" else ("-m", "daypass")
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **env}
        for name in ("NO_COLOR", "CLICOLOR_FORCE"):
            if name not in env:
                environment.pop(name, None)

        def take_terminal() -> None:  # so that Ctrl-C typed there reaches it
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=theirs, stdout=subprocess.PIPE if pipe else theirs, stderr=theirs,
            env=environment, cwd=cwd, preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.written, self.out = "", ""
        self._ours = ours
        self._readers = [threading.Thread(target=self._read_terminal, daemon=True)]
        if pipe:
            self._readers.append(threading.Thread(target=self._read_pipe, daemon=True))
        for reader in self._readers:
            reader.start()

    def _read_terminal(self) -> None:
        while True:
            try:
                chunk = os.read(self._ours, 4096)
            except OSError:  # how Linux reports that nobody has the other end any more
                return
            self.written += chunk.decode(errors="replace")

    def _read_pipe(self) -> None:
        assert self.process.stdout is not None
        self.out = self.process.stdout.read().decode()

    def type(self, keys: bytes) -> None:
        """Type at the terminal."""
        os.write(self._ours, keys)

    def wait_for(self, text: str) -> None:
        """Return once this was written."""
        eventually(f"{text!r} is written", lambda: text in self.written)

    def wait(self) -> int:
        """Return the exit code, once everything is read."""
        code = self.process.wait(120)
        for reader in self._readers:
            reader.join(60)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._ours)


def screen(written: str) -> list[str]:
    """Return the lines that a person sees at the end, without what was erased. No line wraps."""
    lines, row, column = [""], 0, 0
    for found in _SEQUENCE.finditer(written):
        text, (parameter, command) = found[0], found.groups(default="")
        if text == "\r":
            column = 0
        elif text == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif command == "A":
            row = max(0, row - int(parameter or 1))
        elif command == "K":
            lines[row] = "" if parameter == "2" else lines[row][:column]
        elif not command:
            lines[row] = lines[row].ljust(column)
            lines[row] = lines[row][:column] + text + lines[row][column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines]
