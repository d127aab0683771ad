"""A lock between processes, beside the file that it is about. The kernel lets go when one dies."""

from __future__ import annotations

import fcntl
import os
from errno import EACCES, EAGAIN

_TAKEN = (EAGAIN, EACCES)


class FileLock:
    """`try_to` take it, as often as one likes; `release` it, taken or not."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_to(self) -> bool:
        """False if somebody else has it.

        True also where there are no locks to be had (a network file system, a full or a read-only
        one): then nobody is kept out, and everybody goes on alone.
        """
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(descriptor, self._path):  # swept away since it was opened
                os.close(descriptor)
                return False
            os.utime(descriptor)  # it is in use: not to be swept away
        except OSError as error:
            os.close(descriptor)
            return error.errno not in _TAKEN
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let somebody else have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # In so many words: a child that was forked meanwhile holds the descriptor open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _is(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return there.st_ino == os.fstat(descriptor).st_ino
