"""`daypass token`: a short-lived token on stdout.

Most runs find one in the cache, and are to cost no more than a second start of the interpreter.
Hence the two ways in, one by hand and one by `argparse`, that end in the same Options; and hence
no import at the top that the cached path can do without.
"""

from __future__ import annotations

import os

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli import put, say
from daypass.client import cache
from daypass.client.source import read_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.client.source import Source

SUMMARY = "a short-lived token on stdout"
EPILOG = """examples:
  daypass token                                   what the credentials say
  daypass token --audience gate --lifetime 30m
  daypass token --output header | curl -H @- https://ekf.example.com/pipeline/apis/v1beta1/healthz
"""
OUTPUTS = ("text", "json", "header")


class Options:
    """What the command line asks for."""

    __slots__ = ("audience", "credentials", "lifetime_seconds", "output", "use_cache")

    def __init__(self) -> None:
        self.audience: str | None = None
        self.credentials: str | None = None
        self.lifetime_seconds: int | None = None
        self.output = "text"
        self.use_cache = True


def add_arguments(parser: ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--audience", metavar="A", help="whom the token is for")
    parser.add_argument(
        "--lifetime", metavar="TIME", help="3600, 90m, 1h30m, 1d; the API server may grant less"
    )
    parser.add_argument(
        "--credentials", metavar="FILE", help="instead of what DAYPASS_CREDENTIALS names"
    )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default="text",
        help="the token (default), JSON with its expiry, or a header for curl -H @-",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither look into nor write to the cache"
    )


def run(args: Namespace) -> int:
    """Answer what `argparse` has read."""
    options = Options()
    options.audience = args.audience
    options.credentials = args.credentials
    options.output = args.output
    options.use_cache = not args.no_cache
    if args.lifetime is not None:
        options.lifetime_seconds = _lifetime(args.lifetime)
    return answer(options)


def run_plainly(argv: list[str]) -> int | None:
    """Answer a command line without `argparse`, or give None for one that it has to explain."""
    options = read_plainly(argv)
    return None if options is None else answer(options)


def read_plainly(argv: list[str]) -> Options | None:
    """The options in a faultless command line; None for any other."""
    options, words = Options(), iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--no-cache":
            options.use_cache = False
            continue
        if name not in ("--audience", "--lifetime", "--credentials", "--output"):
            return None
        if not equals:
            value = next(words, "-")
            if value.startswith("-"):
                return None
        if name == "--audience":
            options.audience = value
        elif name == "--credentials":
            options.credentials = value
        elif name == "--lifetime":
            options.lifetime_seconds = _lifetime(value)
        elif value in OUTPUTS:
            options.output = value
        else:
            return None
    return options


def _lifetime(text: str) -> int:
    from daypass._core.duration import parse_seconds

    return parse_seconds(text)


def answer(options: Options) -> int:
    """Print a token: from the cache if there is a fresh one, else from the door."""
    source = read_source(os.environ, options.credentials)
    place = _place(source, options) if options.use_cache else None
    entry = _cached(place) if place is not None else None
    if entry is None:
        entry = _exchanged(source, options, place)
    _print(entry, options.output)
    return 0


def _place(source: Source, options: Options) -> tuple[str, str] | None:
    key = cache.entry_key(source.identity(), options.audience, options.lifetime_seconds)
    try:
        return cache.cache_folder(os.environ), key
    except cache.CacheWarning as warning:
        say(f"warning: {warning.fact}", warning.hint)
        return None


def _cached(place: tuple[str, str]) -> cache.Entry | None:
    try:
        entry = cache.load_entry(*place)
    except cache.CacheWarning as warning:
        say(f"warning: {warning.fact}", warning.hint)
        return None
    return entry if entry is not None and entry.is_fresh(SYSTEM_CLOCK.unix()) else None


def _exchanged(source: Source, options: Options, place: tuple[str, str] | None) -> cache.Entry:
    import json

    from daypass.client.credentials import Credentials
    from daypass.client.settings import parse_source
    from daypass.client.times import rfc3339

    settings = parse_source(source, SYSTEM_CLOCK.unix())
    grant = Credentials(settings).grant(options.audience, options.lifetime_seconds)
    for warning in grant.token.warnings:
        say(f"warning: {warning}")
    entry = cache.Entry(
        token=grant.token.value.reveal(),
        expires_at=rfc3339(grant.token.expires_at),
        audiences=json.dumps(grant.token.audiences),
        received_unix=int(grant.received_unix),
        fresh_seconds=int(grant.fresh_seconds),
    )
    if place is not None and settings.is_whole:
        try:
            cache.store_entry(*place, entry)
        except cache.CacheWarning as problem:
            say(f"warning: {problem.fact}", problem.hint)
    return entry


def _print(entry: cache.Entry, output: str) -> None:
    if output == "json":
        # All three are of letters that JSON leaves as they are, or are JSON already.
        text = (
            f'{{"token": "{entry.token}", "expiresAt": "{entry.expires_at}",'
            f' "audiences": {entry.audiences}}}'
        )
    elif output == "header":
        text = f"Authorization: Bearer {entry.token}"
    else:
        text = entry.token
    put(text + "\n")
