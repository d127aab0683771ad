"""`daypass exec-credential`: the credential plugin that kubectl runs for a token."""

from __future__ import annotations

import os

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli.console import write
from daypass.cli.fast_path import cached_token, parse_lifetime, parse_simple
from daypass.client.credentials_source import read_source
from daypass.integrations.kubectl import exec_credential, requested_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from types import SimpleNamespace

EXTRA = None
SUMMARY = "a credential plugin for kubectl and other clients"
EPILOG = """examples:
  daypass exec-credential --credentials bot.json

`daypass kubeconfig` writes an entry that runs it.
"""
_DEFAULTS = {"audience": None, "lifetime": None, "credentials": None}


def add_arguments(parser: ArgumentParser) -> None:
    from daypass.cli.options import add_token_request

    add_token_request(parser, audience="the token's audience: the API server's own")


def run(args: Namespace | SimpleNamespace) -> int:
    lifetime_seconds = parse_lifetime(args.lifetime)
    version = requested_version(os.environ.get("KUBERNETES_EXEC_INFO", ""))
    token = cached_token(read_source(os.environ, args.credentials), args.audience, lifetime_seconds)
    write(exec_credential(version, token, SYSTEM_CLOCK.unix()))
    return 0


def fast_path(argv: list[str]) -> int | None:
    """Print an ExecCredential, or return None for a command line that `argparse` has to explain."""
    args = parse_simple(argv, _DEFAULTS)
    return None if args is None else run(args)
