"""Writes of token files, into folders that belong to others.

Layout `file`: `write_private`. Layout `volume`: as the kubelet does for mounted volumes, so that
all files of a folder change at once:

    gate   -> ..data/gate
    ..data -> ..daypass-1f0c22aa            replaced by a rename
    ..daypass-1f0c22aa/gate                 the files; those of the previous generation stay for
                                            one more renewal, for readers that are opening them

An agent may run as root in a folder of another user. So everything is done relative to the folder's
descriptor, even if the folder is replaced meanwhile, and no link in it is followed. A lock keeps
other agents out. If an agent is killed, the next write removes what it left.
"""

import errno
import fcntl
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from daypass._core.files import PARTIAL, create_private, write_private
from daypass.agent.config import TokenFile

_GENERATION = "..daypass-"
_CURRENT, _NEXT = "..data", "..data_next"
_FOLDER_MODE = 0o755
"""The modes of the files decide who may read them."""
_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 100, 0.05
_one_at_a_time = threading.Lock()


def write_atomically(target: TokenFile, content: bytes) -> None:
    """Replace the file by `content`, with its configured mode and owner.

    Raises OSError; then nothing has changed.
    """
    folder, name = os.path.split(target.path)
    # Token files of one volume share its generations.
    with _one_at_a_time, _opened(folder) as descriptor:
        if target.layout == "file":
            _sweep(descriptor, PARTIAL.format(name), keep="")
            write_private(name, content, mode=target.mode, owner=target.owner, folder=descriptor)
        else:
            _swap(descriptor, name, content, target)


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    descriptor = os.open(folder, _AS_FOLDER)
    try:
        _lock(descriptor, folder)
        yield descriptor
        if not os.path.samestat(os.stat(folder), os.fstat(descriptor)):
            raise FileNotFoundError(errno.ENOENT, "the folder was replaced", folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    """Lock the folder until the descriptor is closed. Raises BlockingIOError after five seconds."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_SECONDS)
        except OSError:
            return  # a file system without such locks
    raise BlockingIOError(errno.EAGAIN, "another agent is writing there", folder)


def _swap(folder: int, name: str, content: bytes, target: TokenFile) -> None:
    before = _generation(folder)
    _sweep(folder, _GENERATION, keep=before)
    after = _GENERATION + os.urandom(4).hex()
    os.mkdir(after, 0o700, dir_fd=folder)
    try:
        fresh = os.open(after, _AS_FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        try:
            if before:
                _link_others(folder, before, fresh, name)
            create_private(name, content, mode=target.mode, owner=target.owner, folder=fresh)
            os.fchmod(fresh, _FOLDER_MODE)  # whatever the umask
        finally:
            os.close(fresh)
        _link(folder, after, _NEXT, _CURRENT)
    except BaseException:
        shutil.rmtree(after, ignore_errors=True, dir_fd=folder)
        raise
    link_target = f"{_CURRENT}/{name}"
    if _target_of(folder, name) != link_target:
        _link(folder, link_target, f"..{name}_next", name)


def _generation(folder: int) -> str:
    """Return the name of the folder that `..data` points to; empty if it is not one of ours."""
    name = _target_of(folder, _CURRENT)
    if not name.startswith(_GENERATION) or "/" in name:
        return ""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return ""
    return name if stat.S_ISDIR(status.st_mode) else ""


def _target_of(folder: int, name: str) -> str:
    """Return the target of a link; empty if there is no such link."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return ""


def _link_others(folder: int, before: str, fresh: int, name: str) -> None:
    """Link the files of the previous generation into the new one, except the renewed one."""
    old = os.open(before, _AS_FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    try:
        for other in os.listdir(old):
            if other != name:
                os.link(other, other, src_dir_fd=old, dst_dir_fd=fresh, follow_symlinks=False)
    finally:
        os.close(old)


def _link(folder: int, link_target: str, partial: str, name: str) -> None:
    _discard(folder, partial)
    os.symlink(link_target, partial, dir_fd=folder)
    os.replace(partial, name, src_dir_fd=folder, dst_dir_fd=folder)


def _sweep(folder: int, prefix: str, *, keep: str) -> None:
    for name in os.listdir(folder):
        if not name.startswith(prefix) or name == keep:
            continue
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
        else:
            _discard(folder, name)


def _discard(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
