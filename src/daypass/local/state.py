"""Where one machine keeps things: what must last, what ends with the process, and who holds it."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from daypass._core.errors import DaypassError
from daypass._core.files import make_private_folder


class InUseError(DaypassError):
    """Another process runs the same stack."""


def state_folder(config: Path) -> Path:
    """The folder of what must outlive the process (the authority, the log), one a config file."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = hashlib.sha256(str(config.resolve()).encode()).hexdigest()[:12]
    return Path(base) / "daypass" / name


class Folders:
    """The state folder, locked, and a runtime folder with a short name that goes when we go.

    `is_new`: nothing was in the state folder before.
    Use as a context manager. Raises InUseError where another process holds the state folder, and
    DaypassError where it cannot be made.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.runtime = Path()
        self.is_new = False
        self._lock = -1

    def __enter__(self) -> "Folders":
        try:
            make_private_folder(str(self.state))
            self.is_new = not any(self.state.iterdir())
            self._lock = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DaypassError(
                f"the state folder {self.state} cannot be used: {error.strerror}",
                "name another one with --state DIR",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise InUseError(
                f"another daypass already runs from {self.state} (pid {holder or 'unknown'})",
                "stop that one, or name another folder with --state DIR",
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        self.runtime = Path(tempfile.mkdtemp(prefix="daypass-"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.runtime, ignore_errors=True)
        os.close(self._lock)
