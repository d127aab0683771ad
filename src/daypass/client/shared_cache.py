"""Tokens that the processes of one user share: kept on disk, and made by one of them at a time."""

from __future__ import annotations

import json

from daypass._core.files import UnsafeFileError, make_private_folder
from daypass._core.secret import Secret
from daypass._core.timestamps import parse_rfc3339, rfc3339
from daypass.client.cache import (
    CacheEntry,
    CacheWarning,
    cache_folder,
    entry_key,
    load_entry,
    store_entry,
)
from daypass.client.effects import Wait
from daypass.client.lock import FileLock
from daypass.client.log import report_shelf
from daypass.client.token import CachedToken, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daypass._core.clock import Clock
    from daypass.client.cache import Needs
    from daypass.client.config import CredentialsConfig
    from daypass.client.effects import Flow
    from daypass.client.timing import Timing


_PATIENCE = 0.5
"""The share of an exchange's deadline that one waits for another process' exchange."""
_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 0.3


class SharedTokenCache:
    """A folder of kept tokens. `key`: the one entry that counts, whatever the question is."""

    __slots__ = ("_environ", "_folder", "_key", "_warn")

    def __init__(
        self,
        folder: str,
        environ: Mapping[str, str],
        warn: Callable[[CacheWarning], None],
        key: str | None = None,
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._warn = warn
        self._key = key

    def place(
        self, settings: CredentialsConfig, question: tuple[str, int], timing: Timing
    ) -> CacheSlot | None:
        """Where an answer to this question is kept; None for what can't be."""
        if settings.source is None or settings.needs is None:
            return None
        key = self._key or _key(settings, question)
        return CacheSlot(self._folder, key, self._environ, self._warn, timing)


class CacheSlot:
    """One entry, and the lock beside it."""

    __slots__ = ("_environ", "_folder", "_has_warned", "_key", "_lock", "_timing", "_warn")

    def __init__(
        self,
        folder: str,
        key: str,
        environ: Mapping[str, str],
        warn: Callable[[CacheWarning], None],
        timing: Timing,
    ) -> None:
        self._folder = folder
        self._key = key
        self._environ = environ
        self._warn = warn
        self._has_warned = False
        self._timing = timing
        self._lock = FileLock(f"{folder}/{key}.lock")

    def wait_for(self, refused: Token | None) -> Flow[CachedToken | None]:
        """A fresh grant that another process has put here, or None, and then it is up to the caller
        to make one; the others wait for that, but not for ever."""
        clock, chance = self._timing.clock, self._timing.chance
        ends = clock.monotonic() + self._timing.exchange_seconds * _PATIENCE
        pause = _FIRST_POLL_SECONDS
        self._make_folder()
        while True:
            is_mine = self._lock.try_to()
            found = self._find(refused)
            if found is not None or is_mine or clock.monotonic() >= ends:
                return found
            yield Wait(pause * (0.5 + chance()))
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)

    def put(self, grant: CachedToken, needs: Needs) -> None:
        """Keep a grant for the others."""
        try:
            store_entry(self._folder, self._key, entry_of(grant, needs))
        except CacheWarning as problem:
            self._warn(problem)

    def leave(self) -> None:
        """Let the others in."""
        self._lock.release()

    def _make_folder(self) -> None:
        try:  # noqa: SIM105 - no import of contextlib
            make_private_folder(self._folder)
        except (OSError, UnsafeFileError):
            pass  # it is told when something is to be put there

    def _find(self, refused: Token | None) -> CachedToken | None:
        try:
            entry = load_entry(self._folder, self._key, self._environ)
        except CacheWarning as problem:
            if not self._has_warned:
                self._has_warned = True
                self._warn(problem)
            return None
        clock = self._timing.clock
        if entry is None or entry.age_seconds(clock) >= entry.fresh_seconds:
            return None
        grant = grant_of(entry, clock)
        if grant is None or (refused is not None and grant.token.value == refused.value):
            return None
        return grant


def entry_of(grant: CachedToken, needs: Needs = ()) -> CacheEntry:
    """A grant as it is kept. Its times are rounded so that it never gets younger or longer."""
    return CacheEntry(
        token=grant.token.value.reveal(),
        expires_at=rfc3339(grant.token.expires_at),
        audiences=json.dumps(grant.token.audiences),
        received_unix=int(grant.received_unix),
        received_monotonic=int(grant.received_monotonic),
        fresh_seconds=int(grant.quiet_seconds),
        usable_seconds=int(grant.usable_seconds),
        needs=needs,
    )


def grant_of(entry: CacheEntry, clock: Clock) -> CachedToken | None:
    """A kept entry as a grant of this process; None if it makes no sense."""
    expires_at, audiences = parse_rfc3339(entry.expires_at), json.loads(entry.audiences)
    if expires_at is None:
        return None
    age = entry.age_seconds(clock)
    return CachedToken(
        Token(value=Secret(entry.token), expires_at=expires_at, audiences=tuple(audiences)),
        unix=clock.unix() - age,
        monotonic=clock.monotonic() - age,
        usable_seconds=entry.usable_seconds,
        quiet_seconds=entry.fresh_seconds,
    )


def _key(settings: CredentialsConfig, question: tuple[str, int]) -> str:
    """The name that a command finds the same question by, which names only what it is told."""
    assert settings.source is not None  # noqa: S101 - see `place`
    audience, lifetime = question
    return entry_key(
        settings.source.identity(),
        None if audience == settings.audience else audience,
        None if lifetime == settings.lifetime_seconds else lifetime,
    )


def open_shared_cache(environ: Mapping[str, str]) -> SharedTokenCache | None:
    """The user's shelf for the library; None, and a word to the logger, where none can be."""
    try:
        return SharedTokenCache(cache_folder(environ), environ, report_shelf)
    except CacheWarning as problem:
        report_shelf(problem)
        return None
