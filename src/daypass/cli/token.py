"""`daypass token`: a short-lived token on stdout.

Most runs find one in the cache and must cost no more than a second start of the interpreter. So
this module imports at the top only what the cached path needs.
"""

from __future__ import annotations

import os

from daypass.cli.console import log, write
from daypass.cli.fast_path import cached_token, parse_lifetime, parse_simple
from daypass.client.credentials_source import read_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from types import SimpleNamespace

EXTRA = None
SUMMARY = "a short-lived token on stdout"
EPILOG = """examples:
  daypass token
  daypass token --audience gate --lifetime 30m
  daypass token -o header | curl -H @- https://ekf.example.com/api/health
  daypass token --clear-cache     programs get new tokens at their next start

`daypass doctor` shows why there is no token, or why a gate refuses it.
"""
_OUTPUTS = ("text", "json", "yaml", "header")
_DEFAULTS = {
    "audience": None, "lifetime": None, "credentials": None, "output": "text", "no_cache": False,
    "clear_cache": False,
}  # fmt: skip


def add_arguments(parser: ArgumentParser) -> None:
    from daypass.cli.options import add_output, add_token_request

    add_token_request(parser)
    add_output(
        parser,
        "default: text; header: for curl -H @-; json, yaml: with its expiry",
        choices=_OUTPUTS,
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read nor write the token cache"
    )
    parser.add_argument(
        "--clear-cache", action="store_true", help="delete all cached tokens, and print none"
    )


def run(args: Namespace | SimpleNamespace) -> int:
    if args.clear_cache:
        return _clear_cache(args)
    lifetime_seconds = parse_lifetime(args.lifetime)
    source = read_source(os.environ, args.credentials)
    token = cached_token(source, args.audience, lifetime_seconds, use_cache=not args.no_cache)
    write(token.formatted(args.output) + "\n")
    return 0


def _clear_cache(args: Namespace | SimpleNamespace) -> int:
    from daypass._core.errors import DaypassError, UsageError
    from daypass._core.hints import command
    from daypass.client.shared_cache import SharedTokenCache, cache_folder

    alone = {**_DEFAULTS, "clear_cache": True}
    if any(getattr(args, name) != value for name, value in alone.items()):
        fact = "--clear-cache deletes the tokens of all credentials, and prints none"
        raise UsageError(fact, f"write no other option: {command('token', '--clear-cache')}")
    folder = cache_folder(os.environ)
    names = SharedTokenCache(folder=folder, environ=os.environ, warn=lambda _: None).names()
    try:
        for name in names:
            os.unlink(f"{folder}/{name}")
    except OSError as error:
        raise DaypassError(f"{error.filename} cannot be deleted: {error.strerror}") from None
    log(f"{len(names)} cached token{'s' * (len(names) != 1)} deleted in {folder}")
    return 0


def fast_path(argv: list[str]) -> int | None:
    """Print a token, or return None for a command line that `argparse` has to explain."""
    args = parse_simple(argv, _DEFAULTS)
    return None if args is None or args.output not in _OUTPUTS else run(args)
