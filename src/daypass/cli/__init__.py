"""The command `daypass`: one module a command, and here only which, and how it ends.

A command's module has `SUMMARY`, `EPILOG` (examples), `add_arguments(parser)` and `run(args)`, and
is imported when it is asked for. It may have `run_plainly(argv)`, which answers the common forms
of its command line itself and gives None for all others: `argparse` alone costs more than
`daypass token` may take. No judgement lives in this package.

Exit codes: 0 done, 1 failed, 2 usage, 3 findings. Data on stdout, words on stderr.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from typing import Any

COMMANDS = {
    "agent": "daypass.cli.agent",
    "apply": "daypass.cli.apply",
    "completion": "daypass.cli.completion",
    "demo": "daypass.cli.demo",
    "diff": "daypass.cli.diff",
    "exec-credential": "daypass.cli.exec_credential",
    "gate": "daypass.cli.gate",
    "identity": "daypass.cli.identity",
    "init": "daypass.cli.init",
    "kubeconfig": "daypass.cli.kubeconfig",
    "policy": "daypass.cli.policy",
    "remove": "daypass.cli.remove",
    "render": "daypass.cli.render",
    "run": "daypass.cli.run",
    "token": "daypass.cli.token",
    "up": "daypass.cli.up",
    "verify": "daypass.cli.verify",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and give its exit code. Everything that is raised ends here."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = _run(arguments)
        write("")  # flush here, where an error can still be told
        return code
    except SystemExit as stop:  # argparse's
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1  # whoever read our output has seen enough
    except Exception as error:
        if os.environ.get("DAYPASS_DEBUG") == "1":
            raise
        return _tell(error)
    finally:
        _settle_stderr()


def write(text: str) -> None:
    """Data on stdout, at once; raises BrokenPipeError, DaypassError where it cannot be written."""
    reason: str | None = "stdout is closed" if text else None
    if sys.stdout is not None:  # as it is where stdout was closed by whoever started this
        try:
            try:
                sys.stdout.write(text)
            except UnicodeEncodeError:  # a locale without these characters, or a lone surrogate
                sys.stdout.write(text.encode("ascii", "backslashreplace").decode())
            sys.stdout.flush()
            return
        except OSError as error:
            # The rest of the buffer goes nowhere, or the interpreter would try again as it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            reason = error.strerror
    if reason:
        from daypass._core.errors import DaypassError

        raise DaypassError(f"the output could not be written: {reason}")


def put_text(text: str) -> None:
    """Text for a person on stdout: `put`, without what would steer a terminal."""
    from daypass._core.text import mask_unprintable

    write(mask_unprintable(text, keep="\n\t"))


def _settle_stderr() -> None:
    """What stderr does not take goes nowhere: else it would be the exit code, 120, that tells."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except ValueError:
        pass  # it is closed


def log(fact: str, hint: str = "") -> None:
    """Words for a person, on stderr: the fact, and below it what to do.

    A stderr that takes nothing (a full disk, a reader that has gone) stops nobody.
    """
    if sys.stderr is None:
        return
    from daypass._core.text import mask_unprintable

    first, *rest = fact.split("\n")
    lines = [f"daypass: {first}", *(f"  {line}" for line in (*rest, *hint.split("\n")) if line)]
    try:
        for line in lines:
            sys.stderr.write(mask_unprintable(line) + "\n")
    except (OSError, ValueError):
        pass


def _run(arguments: list[str]) -> int:
    if arguments and (home := COMMANDS.get(arguments[0])):
        module = __import__(home, fromlist=["run"])
        plainly = getattr(module, "run_plainly", None)
        if plainly is not None:
            code: int | None = plainly(arguments[1:])
            if code is not None:
                return code
        return run_parsed(arguments[0], module, arguments[1:])
    return _run_bare(arguments)


def run_parsed(name: str, module: Any, arguments: list[str]) -> int:
    """Run a command's module on a command line; `name` is what it is called by."""
    code: int = module.run(make_parser(name, module).parse_args(arguments))
    return code


def make_parser(name: str, module: Any) -> ArgumentParser:
    """The parser of a command, as its module describes it."""
    import argparse

    parser = argparse.ArgumentParser(
        prog=f"daypass {name}",
        description=module.SUMMARY,
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def _run_bare(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help"):
        write(_help())
        return 0
    if first in ("-V", "--version"):
        from daypass._core import VERSION

        write(f"daypass {VERSION}\n")
        return 0
    if not first:
        log("no command is named", _help().rstrip())
        return 2
    from daypass._core.hints import command
    from daypass._core.text import suggest

    near = suggest(first, COMMANDS)
    hint = (
        f"did you mean `daypass {near}`?" if near else f"`{command('--help')}` lists the commands"
    )
    what = "option" if first.startswith("-") else "command"
    log(f"there is no {what} {first[:40]!r}", hint)
    return 2


def _help() -> str:
    lines = ["usage: daypass COMMAND [OPTIONS]", ""]
    for name, home in COMMANDS.items():
        summary = __import__(home, fromlist=["SUMMARY"]).SUMMARY
        lines.append(f"  {name:<16} {summary}")
    return "\n".join([*lines, "", "daypass COMMAND --help says more; daypass --version", ""])


def _tell(error: Exception) -> int:
    from daypass._core.errors import DaypassError

    if isinstance(error, DaypassError):
        log(error.fact, error.hint)
        return error.exit_code
    # Its text is not shown: an error that nobody foresaw may quote anything.
    log(
        f"daypass has a bug: {type(error).__name__}",
        "run it again with DAYPASS_DEBUG=1, and report what it prints",
    )
    return 1
