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
    from types import SimpleNamespace

EXTRA = None
SUMMARY = "a short-lived token on stdout"
EPILOG = """examples:
  daypass token
  daypass token --audience gate --lifetime 30m
  daypass token -o header | curl -H @- https://ekf.example.com/api/health

`daypass gate explain` shows why a gate refuses a token; `daypass identity revoke` revokes tokens.
"""
_OUTPUTS = ("text", "json", "yaml", "header")
_DEFAULTS = {
    "audience": None, "lifetime": None, "credentials": None, "output": "text", "no_cache": False,
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


def run(args: Namespace | SimpleNamespace) -> int:
    lifetime_seconds = parse_lifetime(args.lifetime)
    source = read_source(os.environ, args.credentials)
    token = cached_token(source, args.audience, lifetime_seconds, use_cache=not args.no_cache)
    write(token.formatted(args.output) + "\n")
    return 0


def fast_path(argv: list[str]) -> int | None:
    """Print a token, or return None for a command line that `argparse` has to explain."""
    args = parse_simple(argv, _DEFAULTS)
    return None if args is None or args.output not in _OUTPUTS else run(args)
