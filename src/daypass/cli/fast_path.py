"""What commands that print a token need, with few imports: each costs more than a cached token.

`cached_token` is the whole use case; `parse_simple` parses a command line without `argparse`.
"""

from __future__ import annotations

import os
import sys

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass.cli.console import warn
from daypass.client.shared_cache import CacheWarning, SharedTokenCache, cache_folder, entry_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

    from daypass.client.credentials_source import CredentialsSource
    from daypass.client.token import CachedToken

else:
    SimpleNamespace = type(sys.implementation)  # as `types` has it, whose import takes longer

MIN_LEFT_SECONDS = 60
"""A command's token is passed on to something else: with less left it is not used."""


def parse_simple(argv: list[str], defaults: Mapping[str, object]) -> SimpleNamespace | None:
    """Return what `argparse` would; the default of a flag is False. The last option wins.

    Returns None for any other command line: `argparse` runs it or explains what is wrong.
    """
    names = {f"--{name.replace('_', '-')}": name for name in defaults}
    args, words = SimpleNamespace(**defaults), iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        name = names.get("--output" if option == "-o" else option)
        if name is None:
            return None
        if defaults[name] is False:
            if equals:
                return None
            setattr(args, name, True)
            continue
        if not equals:
            value = next(words, "-")
            if value.startswith("-"):
                return None
        setattr(args, name, value)
    return args


def parse_lifetime(text: str | None) -> int | None:
    """Return the seconds that --lifetime names, if it is given. Raises UsageError."""
    if text is None:
        return None
    from daypass._core.clock import parse_seconds

    return parse_seconds(text, "--lifetime")


def cached_token(
    source: CredentialsSource,
    audience: str | None = None,
    lifetime_seconds: int | None = None,
    *,
    use_cache: bool = True,
) -> CachedToken:
    """Return a fresh token from the cache, or exchange for a new one and cache it.

    `audience` and `lifetime_seconds`: None selects the credentials' own. Of several processes that
    need the same token, one exchanges. If the exchange fails for a temporary reason, the last token
    is returned while it is usable. `use_cache=False` neither reads nor writes the cache. Raises the
    errors of `daypass.client.errors`.
    """
    cache, found = None, None
    name = entry_name(source.identity(), audience, lifetime_seconds)
    if use_cache:
        try:
            cache = SharedTokenCache(
                folder=cache_folder(os.environ), environ=os.environ, warn=_warn, only_entry=name
            )
            found = cache.fresh(name)
        except CacheWarning as problem:
            if cache is None:
                _warn(problem)
            # Otherwise the exchange reads the entry again, and warns.
    if found is not None:
        return found
    try:
        return _exchange(source, audience, lifetime_seconds, cache)
    except DaypassError as error:
        if cache is None or not error.heals_by_itself:
            raise
        return _last(cache, name, error)


def _last(cache: SharedTokenCache, name: str, error: DaypassError) -> CachedToken:
    """Return a token that is no longer fresh, with a warning. Raises `error` if there is none."""
    try:
        last = cache.load(name)
    except CacheWarning:
        raise error from None  # the exchange has warned of the entry
    left = 0.0 if last is None else last.usable_seconds - last.age_seconds(SYSTEM_CLOCK)
    if last is None or left < MIN_LEFT_SECONDS:
        raise error
    warn(f"using the last token, for {left:.0f} s more: {error.fact}", error.hint)
    return last


def _warn(problem: DaypassError) -> None:
    warn(problem.fact, problem.hint)


def _exchange(
    source: CredentialsSource,
    audience: str | None,
    lifetime_seconds: int | None,
    cache: SharedTokenCache | None,
) -> CachedToken:
    from daypass.client.config import CredentialsConfig, ReloadingConfig
    from daypass.client.token_source import TokenSource
    from daypass.client.transport import SYSTEM_TIMING

    config = CredentialsConfig(source)
    tokens = TokenSource(ReloadingConfig(config), SYSTEM_TIMING, shared_cache=cache)
    return tokens.get(config.key(audience, lifetime_seconds))
