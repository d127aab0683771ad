"""The state folder, which outlasts the process, and the runtime folder, which does not."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import UnsafeFileError, make_private_folder, user_folder

LOCK = "lock"
RUNTIME_PREFIX, RUNTIME_LOCK = "daypass-", "daypass-runtime.lock"


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
    """Yield a private folder with a short name, for keys and sockets, and remove it at the end.

    Such folders of this user's killed processes are removed first.
    """
    base = tempfile.gettempdir()
    with suppress(OSError):  # the folder may be writable, but not readable
        for name in os.listdir(base):
            if name.startswith(RUNTIME_PREFIX):
                with suppress(OSError):
                    _remove_stale(os.path.join(base, name))
    folder = Path(tempfile.mkdtemp(prefix=RUNTIME_PREFIX, dir=base))
    with ExitStack() as held:
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        lock = os.open(
            folder / "new.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        held.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / "new.lock", folder / RUNTIME_LOCK)  # under this name it is always locked
        yield folder


def _remove_stale(path: str) -> None:
    """Remove a runtime folder whose process has ended; leave anything else as it is.

    1. It is a folder, not a link, of this user, and closed to others: nobody else has filled it.
    2. It has a lock file, which only runtime folders have.
    3. No process holds that lock: the kernel releases it however a process ends.
    4. Its contents are removed through the descriptor that was checked, and no link is followed.

    Raises OSError if it cannot be opened, is in use, or changes meanwhile.
    """
    with ExitStack() as held:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        held.callback(os.close, folder)
        status = os.fstat(folder)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        lock = os.open(RUNTIME_LOCK, flags, dir_fd=folder)
        held.callback(os.close, lock)
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in set(os.listdir(folder)) - {RUNTIME_LOCK}:
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        os.unlink(RUNTIME_LOCK, dir_fd=folder)
        os.rmdir(path)
