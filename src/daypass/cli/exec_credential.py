"""`daypass exec-credential`: what kubectl runs for a token (client-go credential plugin)."""

from __future__ import annotations

import os

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli import log, write
from daypass.cli.fast_path import parse_simple
from daypass.client.config import read_source
from daypass.client.shared_cache import cached_token
from daypass.integrations.exec_credential import asked_version, exec_credential

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "a token for kubectl and other Kubernetes clients (credential plugin)"
EPILOG = """examples:
  daypass kubeconfig --server https://k8s.example.com:6443     an entry that runs this command
  daypass exec-credential --credentials bot.json               what kubectl is given

It asks nothing and reads nothing from the terminal. kubectl shows what it says on stderr.
"""
_VALUED = ("--audience", "--lifetime", "--credentials")


def add_arguments(parser: ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--audience", metavar="A", help="whom the token is for: the API server")
    parser.add_argument("--lifetime", metavar="TIME", help="3600, 90m, 1h30m, 1d")
    parser.add_argument(
        "--credentials", metavar="FILE", help="instead of what DAYPASS_CREDENTIALS names"
    )


def run(args: Namespace) -> int:
    """Answer what `argparse` has read."""
    return _answer(args.audience, args.lifetime, args.credentials)


def run_plainly(argv: list[str]) -> int | None:
    """Answer a command line without `argparse`, or give None for one that it has to explain."""
    options = parse_simple(argv, _VALUED, ())
    return None if options is None else _answer(*(options.get(name) for name in _VALUED))


def _answer(audience: str | None, lifetime: str | None, credentials: str | None) -> int:
    seconds = None
    if lifetime is not None:
        from daypass._core.duration import parse_seconds

        seconds = parse_seconds(lifetime)
    version = asked_version(os.environ.get("KUBERNETES_EXEC_INFO", ""))
    entry = cached_token(
        read_source(os.environ, credentials),
        audience,
        seconds,
        use_cache=True,
        warn=lambda fact, hint: log(f"warning: {fact}", hint),
    )
    write(exec_credential(version, entry, SYSTEM_CLOCK.unix()))
    return 0
