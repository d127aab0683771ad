"""`daypass token`: a short-lived token on stdout.

Most runs find one in the cache, and are to cost no more than a second start of the interpreter.
Hence the two ways in, one by hand and one by `argparse`, that end in the same Options; and hence
no import at the top that the cached path can do without.
"""

from __future__ import annotations

import os

from daypass.cli import fast_path, log, write
from daypass.client.config import read_source
from daypass.client.shared_cache import cached_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.client.token import CachedToken

SUMMARY = "a short-lived token on stdout"
EPILOG = """examples:
  daypass token                                   what the credentials say
  daypass token --audience gate --lifetime 30m
  daypass token --output header | curl -H @- https://ekf.example.com/pipeline/apis/v1beta1/healthz
"""
OUTPUTS = ("text", "json", "header")
_VALUED = ("--audience", "--lifetime", "--credentials", "--output")


class TokenOptions:
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
    options = TokenOptions()
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


def read_plainly(argv: list[str]) -> TokenOptions | None:
    """The options in a faultless command line; None for any other."""
    given = fast_path.parse_simple(argv, _VALUED, ("--no-cache",))
    if given is None or given.get("--output", "text") not in OUTPUTS:
        return None
    options = TokenOptions()
    options.audience = given.get("--audience")
    options.credentials = given.get("--credentials")
    options.output = given.get("--output", "text")
    options.use_cache = "--no-cache" not in given
    if "--lifetime" in given:
        options.lifetime_seconds = _lifetime(given["--lifetime"])
    return options


def _lifetime(text: str) -> int:
    from daypass._core.duration import parse_seconds

    return parse_seconds(text)


def answer(options: TokenOptions) -> int:
    """Print a token: from the cache if there is a fresh one, else from the door."""
    entry = cached_token(
        read_source(os.environ, options.credentials),
        options.audience,
        options.lifetime_seconds,
        use_cache=options.use_cache,
        warn=lambda fact, hint: log(f"warning: {fact}", hint),
    )
    _print(entry, options.output)
    return 0


def _print(entry: CachedToken, output: str) -> None:
    if output == "json":
        # All three are of letters that JSON leaves as they are, or are JSON already.
        text = (
            f'{{"token": "{entry.value}", "expiresAt": "{entry.expires_at}",'
            f' "audiences": {entry.audiences}}}'
        )
    elif output == "header":
        text = f"Authorization: Bearer {entry.value}"
    else:
        text = entry.value
    write(text + "\n")
