"""Child processes of a test run: each in a session of its own, none of them outliving the run."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

LAUNCHER: Final = """
import os, signal, sys
parent, listener, *command = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(parent):
    os._exit(1)
if listener:
    if int(listener) != 3:
        os.dup2(int(listener), 3)
        os.close(int(listener))
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execvp(command[0], command)
"""
"""Becomes the child's program after asking the kernel to kill it when the parent dies, however
that happens (prctl(2)); the check afterwards covers a parent that died in between. A socket is
handed over as descriptor 3, the way systemd does (sd_listen_fds(3))."""


def children_of(pid: int) -> dict[int, str]:
    """The living processes that a process has started: their numbers and names."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            before, _, after = status.read_text().rpartition(")")
            if int(after.split()[1]) == pid:
                found[int(status.parent.name)] = before.partition("(")[2]
    return found


def resident_bytes(pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def path_without(*programs: str) -> str:
    """PATH without the folders that have one of these programs."""
    folders = os.environ["PATH"].split(os.pathsep)
    others = (it for it in folders if not any(Path(it, name).exists() for name in programs))
    return os.pathsep.join(others)


class Child:
    """A running program whose output goes to a file.

    It is ended by `stop`, at the interpreter's exit, and (on Linux) by the kernel when the test
    process is killed. `listener`: a socket to listen on, for a program that takes one of systemd.
    Raises RuntimeError when made on another thread than the main one: the kernel counts the end of
    the thread as the parent's death.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are started on the main thread: they die with the thread")
        self.name = log.stem
        self.log = log
        handed = () if listener is None else (listener.fileno(),)
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*launcher, "".join(str(each) for each in handed), *command],
                cwd=folder,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=handed,
            )
        self.pid = self._process.pid
        atexit.register(self.stop)

    def exit_code(self) -> int | None:
        """What it ended with, or None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise RuntimeError, with the end of its log, if it has ended."""
        code = self.exit_code()
        if code is not None:
            raise RuntimeError(f"{self.name} ended with {code}; its log ends with:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Let it do nothing for a while, as a process that hangs; what it has started goes on."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def stop(self, *, grace_seconds: float = 0.0) -> None:
        """End it and all it started, and wait for it; SIGTERM first where it is given grace."""
        if grace_seconds and self.exit_code() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_seconds)
        self._signal(signal.SIGKILL)
        self._process.wait()
        atexit.unregister(self.stop)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code() is None:  # once it is waited for, its number may be somebody else's
            os.killpg(self.pid, number)
