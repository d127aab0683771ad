"""The state folder, which outlasts the process, and the runtime folder, which does not."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import UnsafeFileError, make_private_folder, user_folder

LOCK = "lock"


class InUseError(DaypassError):
    """Another process uses the same state folder."""


def state_folder(config: Path) -> Path:
    """Return the default state folder for a config file. Raises UsageError."""
    base = user_folder(os.environ, "XDG_STATE_HOME", ".local/state")
    if base is None:
        raise UsageError("the home folder is unknown", "set HOME or XDG_STATE_HOME")
    name = hashlib.sha256(str(config.resolve()).encode()).hexdigest()[:12]
    return Path(base) / "daypass" / name


def runs_from(state: Path) -> bool:
    """Return whether a process has locked this state folder."""
    try:
        lock = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The state folder, and a runtime folder."""

    state: Path
    runtime: Path


@contextmanager
def locked_folders(state: Path) -> Iterator[Folders]:
    """Yield a locked state folder and a runtime folder.

    Raises InUseError if another process holds it, and DaypassError if it cannot be made.
    """
    with ExitStack() as held:
        try:
            make_private_folder(str(state))
            lock = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except UnsafeFileError as error:
            raise UsageError(f"--state: {error.fact}", error.hint) from None
        except OSError as error:
            raise DaypassError(
                f"the state folder {state} cannot be used: {error.strerror}",
                "name another one with --state DIR",
            ) from None
        held.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            raise InUseError(
                f"another daypass already runs from {state} (pid {holder or 'unknown'})",
                "stop that one, or name another folder with --state DIR",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield Folders(state=state, runtime=held.enter_context(runtime_folder()))


@contextmanager
def runtime_folder() -> Iterator[Path]:
    """Yield a private folder with a short name, for keys and sockets, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="daypass-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
