"""Short-lived tokens kept on disk between runs, each under the whole identity it belongs to.

An entry is named by a hash over everything that decides what the exchange would answer, so changed
credentials can't meet an old token. A file that is torn, altered, somebody else's or open to others
is ignored and replaced. Nothing here is needed to get a token: every failure is a warning.

This module is on the cached path of `daypass token` and imports next to nothing.
"""

from __future__ import annotations

import os

from daypass._core.errors import DaypassError
from daypass._core.files import UnsafeFileError, make_private_folder, read_private, write_private

try:
    from _blake2 import blake2b  # `hashlib` would load OpenSSL
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = b"daypass token 1"
LIMIT_BYTES = 64 * 1024
_ABANDONED_AFTER_SECONDS = 7 * 86400


class CacheWarning(DaypassError):
    """Why the cache was not used. The token is had without it."""


class Entry:
    """A token as it is kept: what a command prints, and until when it counts as fresh.

    `audiences` is a JSON array and `expires_at` RFC 3339, both as they are printed. Fresh from
    `received_unix` for `fresh_seconds`, by this machine's clock.
    """

    __slots__ = ("audiences", "expires_at", "fresh_seconds", "received_unix", "token")

    def __init__(
        self, *, token: str, expires_at: str, audiences: str, received_unix: int, fresh_seconds: int
    ) -> None:
        self.token = token
        self.expires_at = expires_at
        self.audiences = audiences
        self.received_unix = received_unix
        self.fresh_seconds = fresh_seconds

    def is_fresh(self, now_unix: float) -> bool:
        """Whether to use it still; not if the clock was set back to before it came."""
        return self.received_unix <= now_unix < self.received_unix + self.fresh_seconds


def entry_key(identity: list[bytes], audience: str | None, lifetime_seconds: int | None) -> str:
    """The name of the entry for one question asked with one identity by one user."""
    digest = blake2b(digest_size=32, person=b"daypass-cache")
    asked = ["-" if x is None else f"+{x}" for x in (audience, lifetime_seconds)]
    for part in (FORMAT, b"%d" % os.geteuid(), *(os.fsencode(x) for x in asked), *identity):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def cache_folder(environ: Mapping[str, str]) -> str:
    """`$XDG_CACHE_HOME/daypass/tokens`, by default below ~/.cache; raises CacheWarning."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative path is to be ignored
        home = environ.get("HOME") or os.path.expanduser("~")
        if not home.startswith("/"):
            raise CacheWarning("tokens are not kept: no home folder is known", "set XDG_CACHE_HOME")
        base = home + "/.cache"
    return base + "/daypass/tokens"


def load_entry(folder: str, key: str) -> Entry | None:
    """The entry, or None where there is none; raises CacheWarning for one that is not believed."""
    path = f"{folder}/{key}"
    try:
        content = read_private(path, limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except UnsafeFileError as error:
        raise CacheWarning(f"a kept token is not used: {error.fact}") from None
    except OSError as error:
        raise CacheWarning(f"kept tokens cannot be read: {path}: {error.strerror}") from None
    entry = _decode(content, key)
    if entry is None:
        raise CacheWarning(f"a kept token is not used: {path} is damaged")
    return entry


def store_entry(folder: str, key: str, entry: Entry) -> None:
    """Keep an entry, and throw out what was abandoned long ago; raises CacheWarning."""
    try:
        make_private_folder(folder)
        write_private(f"{folder}/{key}", _encode(entry, key), durable=False)
        _sweep(folder, os.stat(f"{folder}/{key}").st_mtime - _ABANDONED_AFTER_SECONDS)
    except UnsafeFileError as error:
        raise CacheWarning(f"the token is not kept: {error.fact}", error.hint) from None
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror}"
        raise CacheWarning(f"the token is not kept: {reason}") from None


def _encode(entry: Entry, key: str) -> bytes:
    lines = (
        FORMAT.decode(),
        str(entry.received_unix),
        str(entry.fresh_seconds),
        entry.expires_at,
        entry.audiences,
        entry.token,
    )
    content = "".join(line + "\n" for line in lines).encode("ascii")
    return content + _checksum(content, key)


def _decode(content: bytes, key: str) -> Entry | None:
    content, checksum = content[:-64], content[-64:]
    if checksum != _checksum(content, key):
        return None
    lines = content.decode("ascii", "replace").split("\n")
    if len(lines) != 7 or lines[0] != FORMAT.decode():
        return None
    try:
        received, fresh = int(lines[1]), int(lines[2])
    except ValueError:
        return None
    return Entry(
        received_unix=received,
        fresh_seconds=fresh,
        expires_at=lines[3],
        audiences=lines[4],
        token=lines[5],
    )


def _checksum(content: bytes, key: str) -> bytes:
    # Against torn and altered files, not against whoever may write here: that is the user.
    digest = blake2b(content, digest_size=32, key=bytes.fromhex(key), person=b"daypass-entry")
    return digest.hexdigest().encode()


def _sweep(folder: str, before_unix: float) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < before_unix:
                os.unlink(entry.path)
