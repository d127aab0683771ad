"""A token for a command: one that is kept on disk between runs, or a new one, kept then.

This module is on the cached path of `daypass token` and imports next to nothing.
"""

from __future__ import annotations

import os

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass.client.cache import CacheWarning, cache_folder, entry_key, load_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass.client.cache import CacheEntry
    from daypass.client.config_source import CredentialsSource


MIN_LEFT_SECONDS = 60
"""A command's token goes on to something else: with less left it is not handed out."""


def cached_token(
    source: CredentialsSource,
    audience: str | None,
    lifetime_seconds: int | None,
    *,
    use_cache: bool,
    warn: Callable[[str, str], None],
) -> CacheEntry:
    """A token for the question: a fresh one from the cache, else one from the door, then kept.

    `audience` and `lifetime_seconds` are the credentials' own where None. Of all the processes that
    need the same new one, one asks the door. Where that fails and will heal by itself, the one from
    before does while it lasts. `use_cache=False` neither reads nor writes. `warn(fact, hint)` is
    told what does not stop it. Raises the errors of `daypass.client.errors`.
    """
    folder = _folder(warn) if use_cache else None
    if folder is None:
        return _exchanged(source, audience, lifetime_seconds, None, warn)
    key = entry_key(source.identity(), audience, lifetime_seconds)
    try:
        entry = load_entry(folder, key, os.environ)
    except CacheWarning:
        entry = None  # it is met again, and told, on the way to a new one
    if entry is not None and entry.age_seconds(SYSTEM_CLOCK) < entry.fresh_seconds:
        return entry
    try:
        return _exchanged(source, audience, lifetime_seconds, (folder, key), warn)
    except DaypassError as error:
        if entry is None or not error.heals_by_itself:
            raise
        left = entry.usable_seconds - entry.age_seconds(SYSTEM_CLOCK)
        if left < MIN_LEFT_SECONDS:
            raise
        warn(f"the token from before is used, for {left:.0f} s more: {error.fact}", error.hint)
        return entry


def _folder(warn: Callable[[str, str], None]) -> str | None:
    try:
        return cache_folder(os.environ)
    except CacheWarning as warning:
        warn(warning.fact, warning.hint)
        return None


def _exchanged(
    source: CredentialsSource,
    audience: str | None,
    lifetime_seconds: int | None,
    place: tuple[str, str] | None,
    warn: Callable[[str, str], None],
) -> CacheEntry:
    from daypass.client.config import parse_source
    from daypass.client.reloading_config import ReloadingConfig
    from daypass.client.shared_cache import SharedTokenCache, entry_of
    from daypass.client.sync import drive
    from daypass.client.timing import SYSTEM_TIMING
    from daypass.client.token_source import TokenSource

    def warn_of(warning: CacheWarning) -> None:
        warn(warning.fact, warning.hint)

    settings = parse_source(source, SYSTEM_CLOCK.unix(), os.environ)
    shelf = None if place is None else SharedTokenCache(place[0], os.environ, warn_of, key=place[1])
    supply = TokenSource(ReloadingConfig(settings), SYSTEM_TIMING, shelf=shelf)
    question = settings.question(audience, lifetime_seconds)
    grant = drive(supply.obtain(question), SYSTEM_TIMING)
    for warning in grant.token.warnings:
        warn(warning, "")
    return entry_of(grant)
