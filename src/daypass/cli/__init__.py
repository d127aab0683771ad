"""The command `daypass`: the table of commands, their dispatch, and exit codes.

A command is a module with `SUMMARY`, `EPILOG` (examples), `add_arguments(parser)` and `run(args)`,
imported only when it is called. It needs the libraries of the extra `admin`, unless `EXTRA` names
another or None. With `-o json` it prints a dataclass whose fields are described, which `OUTPUT`
names: the JSON Schema is made of it. A group such as `daypass gate` is a package whose `COMMANDS`
names its modules (see `parser`). Four commands also have `fast_path(argv)`: it runs the usual
command lines without `argparse`, whose import alone takes longer than `daypass token` may, and
returns None for others.

Exit codes: 0 done, 1 failed, 2 usage, 3 findings. Results go to stdout, messages to stderr.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

from daypass.cli.console import flush_stderr, log, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GROUPS = {
    "tokens for clients": ("token", "run", "agent", "kubeconfig", "exec-credential", "doctor"),
    "identities, and what their tokens may do": ("identity", "gate"),
    "the door of a cluster": ("init", "config", "render", "diff", "apply", "verify", "remove"),
    "what happens, and what is wrong": ("status", "trace"),
    "door and gate on this machine": ("up", "demo"),
    "daypass itself": ("help", "version", "completion"),
}
"""The commands as `daypass help` lists them."""
COMMANDS = {
    name: f"daypass.cli.{name.replace('-', '_')}" for name in sorted(sum(GROUPS.values(), ()))
}
ALSO = {"": "help", "-h": "help", "--help": "help", "-V": "version", "--version": "version"}
_OPTIONS = {"audience=AUDIENCE": "--audience AUDIENCE", "lifetime_seconds=3600": "--lifetime 1h"}
"""Arguments that hints of the library name, and the options that commands have for them."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code. Raises only if DAYPASS_DEBUG=1 is set."""
    # At its exit, Python would look for garbage among all objects: an eighth of what `apply` takes.
    atexit.register(gc.freeze)
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _run(words)
        write("")  # flushes while an error can still be reported
        return code
    except SystemExit as stop:  # raised by argparse
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1  # the reader has closed the pipe
    except Exception as error:
        if os.environ.get("DAYPASS_DEBUG") == "1":
            raise
        return _report(error, words)
    finally:
        flush_stderr()


def _run(arguments: list[str]) -> int:
    import daypass._core.files  # noqa: F401 - raises DaypassError on Windows

    name, rest = (arguments[0] if arguments else ""), arguments[1:]
    name = ALSO.get(name, name)
    if name == "__complete":
        name, rest = "completion", ["__complete", *rest]
    if name not in COMMANDS:
        from daypass.cli.parser import unknown_command

        raise unknown_command("daypass", name, COMMANDS)
    module = __import__(COMMANDS[name], fromlist=["run"])
    fast_path = getattr(module, "fast_path", None)
    if fast_path is not None:
        code: int | None = fast_path(rest)
        if code is not None:
            return code
    from daypass.cli.parser import HELP, find_subcommand, parse, run_command

    if hasattr(module, "COMMANDS"):
        if not rest or rest[0] in HELP:
            return _run(["help", name])
        name, module, rest = find_subcommand(name, module, rest)
    args = parse(name, module, rest)
    code = run_command(name, module, args, COMMANDS)
    if mode := getattr(args, "dry_run", None):
        log(f"nothing was changed: --dry-run={mode}")
    return code


def _report(error: Exception, words: list[str]) -> int:
    """Write an error to stderr, as data if the words have -o json or yaml; return its exit code."""
    from daypass._core.errors import DaypassError

    if isinstance(error, FileNotFoundError) and error.filename is None:  # of os.getcwd()
        error = DaypassError("the current folder does not exist", "go to one that does: cd ~")
    if not isinstance(error, DaypassError):
        # Not its text: an unexpected error may quote anything, secrets included.
        error = DaypassError(
            f"daypass has a bug: {type(error).__name__}",
            "run it again with DAYPASS_DEBUG=1, and report what it prints",
            reason="bug",
        )
    hint = with_options(error.hint)
    if output := data_format(words):
        from daypass.cli.output import write_error

        write_error(error, hint, output)
    else:
        log(error.fact, hint, level="failure")
    return error.exit_code


def data_format(words: Sequence[str]) -> str:
    """Return `json` or `yaml` if a command line names it as its output, or else nothing."""
    import re

    end = words.index("--") if "--" in words else len(words)
    joined = "\0".join(("", *words[:end]))  # no word contains NUL
    *_, output = re.findall(r"\0(?:-o[\0=]?|--output[\0=])([^\0]+)", joined) or ("",)
    return output if output in ("json", "yaml") else ""


def with_options(hint: str) -> str:
    """Return a hint of the library with the options that commands have for its arguments."""
    for argument, option in _OPTIONS.items():
        hint = hint.replace(argument, option)
    return hint
