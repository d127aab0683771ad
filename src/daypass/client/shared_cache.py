"""Short-lived tokens on disk, shared by all processes of a user: one file a token, one lock a file.

- An entry is named by a hash of the credentials, audience, lifetime and user, and holds digests of
  what else decides the exchange, taken before it: changed credentials never get an old token.
- It is replaced by a rename, so reading needs no lock. The lock only saves exchanges: two processes
  that exchange at a time do no harm, and none waits for long.
- Storing a token makes it neither younger nor usable for longer, whatever happens to the clocks.
- A file that is truncated, modified, someone else's or open to others is ignored and replaced.
- The cache is not needed to get a token: every failure is a warning.

This module is on the cached path of `daypass token` and imports next to nothing.
"""

from __future__ import annotations

import errno
import os

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.files import (
    UnsafeFileError,
    fingerprint,
    make_private_folder,
    read_private,
    user_folder,
    write_private,
)
from daypass._core.record import Record
from daypass.client.token import CachedToken

try:
    from _blake2 import blake2b  # `hashlib` would load OpenSSL
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daypass._core.clock import Clock
    from daypass.client.token import Token
    from daypass.client.transport import Timing

    Inputs = tuple[tuple[str, str, str], ...]
    """What decides the exchange in addition to the credentials themselves, as (kind, name, digest)
    of files and variables."""

FORMAT = b"daypass token 2"
LIMIT_BYTES = 64 * 1024
_ABANDONED_AFTER_SECONDS = 7 * 86400
_WAIT_SHARE = 0.5
"""The part of an exchange's deadline for which a process waits for the exchange of another one."""


class CacheWarning(DaypassError):
    """Why the cache was not used."""


class SharedTokenCache(Record):
    """A folder of cached tokens. `only_entry`: the entry to use whatever the key is, or None.

    `warn` is called with the problems that do not prevent a token.

    Nothing here needs a lock: `ExchangeLock` saves exchanges.
    """

    folder: str
    environ: Mapping[str, str]
    warn: Callable[[CacheWarning], None]
    only_entry: str | None = None

    def load(self, name: str, clock: Clock = SYSTEM_CLOCK) -> CachedToken | None:
        """Return the entry, or None if there is none, or if an input of the exchange has changed.

        Raises CacheWarning for an entry that is not trusted.
        """
        path = f"{self.folder}/{name}"
        try:
            content = read_private(path, limit_bytes=LIMIT_BYTES)
        except FileNotFoundError:
            return None
        except UnsafeFileError as error:
            raise CacheWarning(f"a cached token is not used: {error.fact}") from None
        except OSError as error:
            raise CacheWarning(f"the cache cannot be read: {path}: {error.strerror}") from None
        decoded = _decode(content, name)
        if decoded is None:
            raise CacheWarning(f"a cached token is not used: {path} is damaged")
        cached, inputs = decoded
        if any(digest_input(kind, key, self.environ) != seen for kind, key, seen in inputs):
            return None
        elapsed = clock.unix() - cached.received_unix
        if elapsed < 0:
            return None  # from the future: its age is unknown
        # The monotonic clock restarts with the machine.
        cached.received_monotonic = min(cached.received_monotonic, clock.monotonic() - elapsed)
        return cached

    def fresh(
        self, name: str, clock: Clock = SYSTEM_CLOCK, rejected: Token | None = None
    ) -> CachedToken | None:
        """Return the entry if it can be used at once, unless a server has `rejected` it.

        Raises CacheWarning for an entry that is not trusted.
        """
        cached = self.load(name, clock)
        if cached is None or not cached.is_fresh(clock):
            return None
        is_rejected = rejected is not None and cached.value == rejected.value.reveal()
        return None if is_rejected else cached

    def store(self, name: str, cached: CachedToken, inputs: Inputs = ()) -> None:
        """Write an entry, and remove those that were abandoned long ago; raises CacheWarning."""
        path = f"{self.folder}/{name}"
        try:
            make_private_folder(self.folder)
            write_private(path, _encode(cached, inputs, name), durable=False)
            _remove_abandoned(self.folder, os.stat(path).st_mtime - _ABANDONED_AFTER_SECONDS)
        except UnsafeFileError as error:
            raise CacheWarning(f"the token is not cached: {error.fact}", error.hint) from None
        except OSError as error:
            cause = f"{error.filename or self.folder}: {error.strerror}"
            raise CacheWarning(f"the token is not cached: {cause}") from None

    def names(self) -> list[str]:
        """Return the names of all entries; raises CacheWarning."""
        try:
            return [name for name in os.listdir(self.folder) if len(name) == 64]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CacheWarning(f"{self.folder} cannot be read: {error.strerror}") from None


def cache_folder(environ: Mapping[str, str]) -> str:
    """Return `$XDG_CACHE_HOME/daypass/tokens`, by default below ~/.cache; raises CacheWarning."""
    base = user_folder(environ, "XDG_CACHE_HOME", ".cache")
    if base is None:
        raise CacheWarning(
            "tokens are not cached: the home folder is unknown", "set XDG_CACHE_HOME"
        )
    return base + "/daypass/tokens"


def entry_name(identity: list[bytes], audience: str | None, lifetime_seconds: int | None) -> str:
    """Return the name of the entry for these credentials, audience, lifetime and user."""
    digest = blake2b(digest_size=32, person=b"daypass-cache")
    key = ["-" if x is None else f"+{x}" for x in (audience, lifetime_seconds)]
    for part in (FORMAT, b"%d" % os.geteuid(), *(os.fsencode(x) for x in key), *identity):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def digest_input(kind: str, name: str, environ: Mapping[str, str]) -> str:
    """Return what changes when a file or a variable does: `kind` is "file" or "variable"."""
    if kind == "file":
        return fingerprint(name)
    return blake2b(os.fsencode(environ.get(name, "")), digest_size=16).hexdigest()


def _encode(cached: CachedToken, inputs: Inputs, name: str) -> bytes:
    # Times are rounded so that a token never gets younger, nor usable for longer.
    lines = (
        FORMAT.decode(),
        str(int(cached.received_unix)),
        str(int(cached.received_monotonic)),
        str(int(cached.fresh_seconds)),
        str(int(cached.usable_seconds)),
        cached.expires_at,
        cached.audiences,
        " ".join(f"{kind}:{os.fsencode(key).hex()}:{seen}" for kind, key, seen in inputs),
        cached.value,
    )
    content = "".join(line + "\n" for line in lines).encode("ascii")
    return content + _checksum(content, name)


def _decode(content: bytes, name: str) -> tuple[CachedToken, Inputs] | None:
    content, checksum = content[:-64], content[-64:]
    if checksum != _checksum(content, name):
        return None
    lines = content.decode("ascii", "replace").split("\n")
    if len(lines) != 10 or lines[0] != FORMAT.decode():
        return None
    try:
        unix, monotonic, fresh, usable = (int(line) for line in lines[1:5])
        inputs = tuple(_decode_input(word) for word in lines[7].split())
    except ValueError:
        return None
    cached = CachedToken(
        value=lines[8],
        expires_at=lines[5],
        audiences=lines[6],
        received_unix=unix,
        received_monotonic=monotonic,
        usable_seconds=usable,
        fresh_seconds=fresh,
    )
    return cached, inputs


def _decode_input(word: str) -> tuple[str, str, str]:
    kind, name, seen = word.split(":")
    return kind, os.fsdecode(bytes.fromhex(name)), seen


def _checksum(content: bytes, name: str) -> bytes:
    # Against truncated and modified files, not against those who can write here: only the user can.
    digest = blake2b(content, digest_size=32, key=bytes.fromhex(name), person=b"daypass-entry")
    return digest.hexdigest().encode()


def _remove_abandoned(folder: str, before: float) -> None:
    with os.scandir(folder) as found:
        for file in found:
            try:
                if file.is_file(follow_symlinks=False) and file.stat().st_mtime < before:
                    os.unlink(file.path)
            except FileNotFoundError:
                pass  # another process has removed or replaced it


# -- the lock of an exchange


class ExchangeLock:
    """The lock of the entry `name`, with which one of all processes exchanges for it.

    As a context, it is released at the end. It only saves exchanges: a process that has waited for
    half of an exchange's deadline goes on without it, and so does one on a file system without
    locks.
    """

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
        from daypass.client.retry import POLL

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
        import fcntl

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
            return error.errno not in (errno.EAGAIN, errno.EACCES)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            import fcntl

            # Explicitly: a child that was forked meanwhile has the descriptor open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
