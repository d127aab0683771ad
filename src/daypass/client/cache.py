"""Short-lived tokens kept on disk between runs, each under the whole identity it belongs to.

An entry is named by a hash over everything that decides what the exchange would answer, so changed
credentials can't meet an old token. A file that is torn, altered, somebody else's or open to others
is ignored and replaced. Nothing here is needed to get a token: every failure is a warning.

This module is on the cached path of `daypass token` and imports next to nothing.
"""

from __future__ import annotations

import os

from daypass._core.errors import DaypassError
from daypass._core.files import (
    UnsafeFileError,
    fingerprint,
    make_private_folder,
    read_private,
    write_private,
)

try:
    from _blake2 import blake2b  # `hashlib` would load OpenSSL
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass._core.clock import Clock

    Needs = tuple[tuple[str, str, str], ...]

FORMAT = b"daypass token 2"
LIMIT_BYTES = 64 * 1024
_ABANDONED_AFTER_SECONDS = 7 * 86400


class CacheWarning(DaypassError):
    """Why the cache was not used. The token is had without it."""


class CacheEntry:
    """A token as it is kept: what a command prints, and until when it is of use.

    `audiences` is a JSON array and `expires_at` RFC 3339 by the API server's clock, both as they
    are printed. From when it was asked for, it is fresh for `fresh_seconds`, and of use for
    `usable_seconds`. `needs`: what the credentials are made of beside their own bytes, as
    (kind, name, mark); see `mark`.
    """

    __slots__ = (
        "audiences", "expires_at", "fresh_seconds", "needs", "received_monotonic", "received_unix",
        "token", "usable_seconds",
    )  # fmt: skip

    def __init__(
        self,
        *,
        token: str,
        expires_at: str,
        audiences: str,
        received_unix: int,
        received_monotonic: int,
        fresh_seconds: int,
        usable_seconds: int,
        needs: Needs = (),
    ) -> None:
        self.token = token
        self.expires_at = expires_at
        self.audiences = audiences
        self.received_unix = received_unix
        self.received_monotonic = received_monotonic
        self.fresh_seconds = fresh_seconds
        self.usable_seconds = usable_seconds
        self.needs = needs

    @property
    def ends_unix(self) -> int:
        """Until when it may be used, by this machine's clock, however wrong that is."""
        return self.received_unix + self.usable_seconds

    def age_seconds(self, clock: Clock) -> float:
        """How long ago it was asked for; endless if that is in the future.

        The larger of what the two clocks say. After a restart the monotonic one begins anew, and
        says too little or less than nothing, which does no harm.
        """
        passed = clock.unix() - self.received_unix
        return max(passed, clock.monotonic() - self.received_monotonic) if passed >= 0 else 1e12


def mark(kind: str, name: str, environ: Mapping[str, str]) -> str:
    """What changes when a file or a variable does: `kind` is "file" or "variable"."""
    if kind == "file":
        return fingerprint(name)
    return blake2b(os.fsencode(environ.get(name, "")), digest_size=16).hexdigest()


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


def load_entry(folder: str, key: str, environ: Mapping[str, str]) -> CacheEntry | None:
    """The entry, or None where there is none, or what it needs is not what it was.

    Raises CacheWarning for one that is not believed.
    """
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
    if any(mark(kind, name, environ) != seen for kind, name, seen in entry.needs):
        return None
    return entry


def store_entry(folder: str, key: str, entry: CacheEntry) -> None:
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


def _encode(entry: CacheEntry, key: str) -> bytes:
    lines = (
        FORMAT.decode(),
        str(entry.received_unix),
        str(entry.received_monotonic),
        str(entry.fresh_seconds),
        str(entry.usable_seconds),
        entry.expires_at,
        entry.audiences,
        " ".join(f"{kind}:{os.fsencode(name).hex()}:{seen}" for kind, name, seen in entry.needs),
        entry.token,
    )
    content = "".join(line + "\n" for line in lines).encode("ascii")
    return content + _checksum(content, key)


def _decode(content: bytes, key: str) -> CacheEntry | None:
    content, checksum = content[:-64], content[-64:]
    if checksum != _checksum(content, key):
        return None
    lines = content.decode("ascii", "replace").split("\n")
    if len(lines) != 10 or lines[0] != FORMAT.decode():
        return None
    try:
        unix, monotonic, fresh, usable = (int(line) for line in lines[1:5])
        needs = tuple(_need(word) for word in lines[7].split())
    except ValueError:
        return None
    return CacheEntry(
        received_unix=unix,
        received_monotonic=monotonic,
        fresh_seconds=fresh,
        usable_seconds=usable,
        expires_at=lines[5],
        audiences=lines[6],
        needs=needs,
        token=lines[8],
    )


def _need(word: str) -> tuple[str, str, str]:
    kind, name, seen = word.split(":")
    return kind, os.fsdecode(bytes.fromhex(name)), seen


def _checksum(content: bytes, key: str) -> bytes:
    # Against torn and altered files, not against whoever may write here: that is the user.
    digest = blake2b(content, digest_size=32, key=bytes.fromhex(key), person=b"daypass-entry")
    return digest.hexdigest().encode()


def _sweep(folder: str, before_unix: float) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < before_unix:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue  # another process has swept it, or put it in its place
