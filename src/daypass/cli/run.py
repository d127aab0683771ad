"""`daypass run`: run a command with a token in its environment, or in a file that is renewed."""

from __future__ import annotations

import os

from daypass._core import hints
from daypass._core.errors import DaypassError, UsageError
from daypass.cli.fast_path import cached_token, parse_lifetime, parse_simple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from types import SimpleNamespace
    from typing import NoReturn


VARIABLE = "DAYPASS_ACCESS_TOKEN"
FILE_VARIABLE = "DAYPASS_ACCESS_TOKEN_FILE"
EXTRA = None
SUMMARY = "run a command with a token in its environment, or in a file"
EPILOG = f"""examples:
  daypass run -- ./nightly-job               reads DAYPASS_ACCESS_TOKEN
  daypass run --env SERVICE_TOKEN --lifetime 2h -- ./nightly-job
  daypass run --file -- ./long-running       reads the file that {FILE_VARIABLE} names
  daypass run --file --env KF_PIPELINES_SA_TOKEN_PATH -- python train.py    kfp

The command replaces daypass: signals, terminal and exit code are its own. A file gets new tokens.
A variable keeps its token: request a --lifetime as long as the command runs. Variables of the
credentials are removed from its environment.
"""
_DEFAULTS = {
    "audience": None, "lifetime": None, "credentials": None, "env": None, "file": False,
}  # fmt: skip


def add_arguments(parser: ArgumentParser) -> None:
    from daypass.cli.options import add_token_request

    add_token_request(parser)
    parser.add_argument(
        "--env", metavar="NAME", help=f"the variable (default: {VARIABLE}; {FILE_VARIABLE})"
    )
    parser.add_argument(
        "--file", action="store_true", help="a file that is kept fresh; the variable is its path"
    )
    parser.add_argument("command", nargs="*", metavar="-- COMMAND", help="what to run")


def fast_path(argv: list[str]) -> int | None:
    """Run a command, or return None for a command line that `argparse` has to explain.

    Words after `--` are passed on unparsed: what `argparse` does with a second `--`, or with
    options after the first word, differs between versions of Python.
    """
    if "--" not in argv and {"-h", "--help"}.isdisjoint(argv):
        raise _no_command()
    at = argv.index("--") if "--" in argv else len(argv)
    args, command = parse_simple(argv[:at], _DEFAULTS), argv[at + 1 :]
    if args is None or not command:
        return None
    _run(args, command)


def run(args: Namespace) -> int:
    """Raise UsageError: `fast_path` runs every command line that has a command after `--`."""
    raise _no_command()


def _no_command() -> UsageError:
    line = hints.command("run", "--", hints.Placeholder("COMMAND"))
    return UsageError("no command follows --", f"write: {line}")


def _run(args: SimpleNamespace, command: list[str]) -> NoReturn:
    name: str = args.env
    if args.env is None:
        name = FILE_VARIABLE if args.file else VARIABLE
    if not name.isascii() or not name.isidentifier():
        raise UsageError(f"--env: {name[:40]!r} is not a variable's name", f"use {VARIABLE}")
    if name.startswith("DAYPASS_") and name not in (VARIABLE, FILE_VARIABLE):
        raise UsageError(f"--env {name[:40]}: daypass reads that name itself", f"use {VARIABLE}")
    start = _start_with_file if args.file else _start
    start(args, parse_lifetime(args.lifetime), name, command)


def _start(
    args: SimpleNamespace, lifetime_seconds: int | None, name: str, command: list[str]
) -> NoReturn:
    from daypass.client.config import CredentialsConfig
    from daypass.client.credentials_source import read_source
    from daypass.integrations import run_with_token

    source = read_source(os.environ, args.credentials)
    # Not from the cache: the command gets only this token, and may use its whole lifetime.
    entry = cached_token(source, args.audience, lifetime_seconds, use_cache=False)
    variables = CredentialsConfig(source).variables
    environment = run_with_token.child_environment(
        os.environ, name, entry.value, variables=variables
    )
    run_with_token.become(command, environment)


def _start_with_file(
    args: SimpleNamespace, lifetime_seconds: int | None, name: str, command: list[str]
) -> NoReturn:
    from daypass._core.clock import SYSTEM_CLOCK
    from daypass._core.server import write_stderr
    from daypass.agent.config import TokenFile
    from daypass.agent.file_renewer import AgentCredentials, FileRenewer
    from daypass.agent.log import AgentLog
    from daypass.client.transport import SYSTEM_TIMING
    from daypass.integrations import run_with_token

    folder = ""
    try:
        folder = run_with_token.private_folder(os.environ)
        target = TokenFile(
            path=f"{folder}/token",
            mode=0o600,
            audience=args.audience,
            lifetime_seconds=lifetime_seconds,
        )
        credentials = AgentCredentials(os.environ, args.credentials, SYSTEM_TIMING)
        log = AgentLog(SYSTEM_CLOCK, write_stderr, quiet=True)
        renewer = FileRenewer(target, credentials, log, SYSTEM_TIMING)
        renewer.attempt()
        environment = run_with_token.child_environment(
            os.environ,
            name,
            target.path,
            variables=credentials.variables,
        )
        run_with_token.keep_fresh(renewer, folder)
    except BaseException as error:
        if folder:
            run_with_token.remove(folder)
        if not isinstance(error, OSError):
            raise
        raise DaypassError(
            f"the token's file cannot be written: {error.strerror}",
            "it goes below XDG_RUNTIME_DIR or TMPDIR: is there space? can you write there?",
        ) from None
    run_with_token.become(command, environment)
