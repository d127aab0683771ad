"""`daypass token`: a short-lived token on stdout.

Most runs find one in the cache and must cost no more than a second start of the interpreter. So
this module imports at the top only what the cached path needs.
"""

from __future__ import annotations

import os

from daypass.cli import write
from daypass.cli.fast_path import cached_token, parse_lifetime, parse_simple
from daypass.client.credentials_source import read_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


SUMMARY = "a short-lived token on stdout"
EPILOG = """examples:
  daypass token
  daypass token --audience gate --lifetime 30m
  daypass token -o header | curl -H @- https://ekf.example.com/api/health

`daypass gate explain` shows why a gate refuses a token; `daypass identity revoke` revokes tokens.
"""
_OUTPUTS = ("text", "json", "yaml", "header")
_VALUED = ("--audience", "--lifetime", "--credentials", "--output")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
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


def run(args: Namespace) -> int:
    """Print a token."""
    return _print_token(
        args.audience, args.lifetime, args.credentials, args.output, use_cache=not args.no_cache
    )


def fast_path(argv: list[str]) -> int | None:
    """Print a token, or return None for a command line that `argparse` has to explain."""
    options = parse_simple(argv, _VALUED, ("--no-cache",))
    if options is None or options.get("--output", "text") not in _OUTPUTS:
        return None
    return _print_token(
        options.get("--audience"),
        options.get("--lifetime"),
        options.get("--credentials"),
        options.get("--output", "text"),
        use_cache="--no-cache" not in options,
    )


def _print_token(
    audience: str | None,
    lifetime: str | None,
    credentials: str | None,
    output: str,
    *,
    use_cache: bool,
) -> int:
    lifetime_seconds = parse_lifetime(lifetime)
    source = read_source(os.environ, credentials)
    token = cached_token(source, audience, lifetime_seconds, use_cache=use_cache)
    write(token.formatted(output) + "\n")
    return 0
