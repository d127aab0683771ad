"""`daypass demo` in a process of its own, with a temporary folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.deadline import eventually
from support.up import runtime_folder


class Demo:
    """A running `daypass demo`; `stdout` and `stderr` hold its output so far."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        started_by: Sequence[str],
    ) -> None:
        self.runtime = runtime_folder(folder)
        self.stdout = ""
        self.seen: list[int] = []
        self.stderr = ""
        self.process = subprocess.Popen(
            [*started_by, sys.executable, "-m", "daypass", "demo", *arguments],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(self.runtime), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=it) for it in (self._read_stdout, self._read_stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.stdout += line

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line

    def wait_for(self, words: str) -> None:
        """Wait until stdout contains these words."""
        eventually(f"the demo prints {words!r}", lambda: words in self.stdout)

    def children(self) -> list[int]:
        """The processes that it has started and that are alive."""
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [int(pid) for pid in listed.stdout.split()]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, *, seconds: float = 120.0) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def remaining_files(self) -> list[str]:
        """The files that are still in its temporary folder."""
        return sorted(str(path.relative_to(self.runtime)) for path in self.runtime.rglob("*"))


@contextmanager
def running_demo(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    started_by: Sequence[str] = (),
) -> Iterator[Demo]:
    """`daypass demo` in `folder`, ended with the block. `started_by`: a command before it."""
    demo = Demo(folder, arguments, environment or {}, started_by)
    try:
        yield demo
    finally:
        if demo.process.returncode is None:
            demo.process.kill()
            demo.end()
