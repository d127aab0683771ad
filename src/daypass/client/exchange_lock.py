"""The lock with which one of all processes exchanges for an entry of the shared cache.

The lock only saves exchanges: a process that has waited for half of an exchange's deadline goes on
without it, and so does one on a file system without locks.
"""

from __future__ import annotations

import fcntl
import os
from errno import EACCES, EAGAIN

from daypass._core.files import UnsafeFileError, make_private_folder
from daypass.client.retry import POLL
from daypass.client.shared_cache import CacheWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.client.shared_cache import SharedTokenCache
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Timing

_WAIT_SHARE = 0.5
"""The part of an exchange's deadline for which a process waits for the exchange of another one."""


class ExchangeLock:
    """The lock of the entry `name`. As a context, it is released at the end."""

    def __init__(self, cache: SharedTokenCache, name: str) -> None:
        self._cache = cache
        self._name = name
        self._lock = FileLock(f"{cache.folder}/{self._name}.lock")

    def __enter__(self) -> ExchangeLock:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def token_or_lock(self, rejected: Token | None, timing: Timing) -> CachedToken | None:
        """Return a fresh token that another process has stored, or take the lock for an exchange.

        Returns None if the caller has to exchange: it has the lock, or has waited long enough for
        the process that has it. A token equal to `rejected` is not returned.
        """
        ends = timing.clock.monotonic() + timing.exchange_seconds * _WAIT_SHARE
        polls, has_warned = 0, False
        try:  # noqa: SIM105 - no import of contextlib
            make_private_folder(self._cache.folder)
        except (OSError, UnsafeFileError):
            pass  # `store` warns
        while True:
            is_locked = self._lock.acquire()
            try:
                cached = self._cache.fresh(self._name, timing.clock, rejected)
            except CacheWarning as problem:
                cached = None
                if not has_warned:
                    has_warned = True
                    self._cache.warn(problem)
            if cached is not None or is_locked or timing.clock.monotonic() >= ends:
                return cached
            polls += 1
            timing.sleep(POLL.seconds(polls, timing.jitter()))


class FileLock:
    """A lock between processes, on a file of its own. The kernel releases it when a process dies.

    `acquire` can be called again until it returns True; `release` can be called in any state.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Return False if another process has the lock. Does not wait.

        Returns True too if there are no locks (a network file system, a full or a read-only one):
        then no process waits for another.
        """
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.utime(descriptor)  # it is in use, not abandoned
        except OSError as error:
            os.close(descriptor)
            return error.errno not in (EAGAIN, EACCES)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Explicitly: a child that was forked meanwhile has the descriptor open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
