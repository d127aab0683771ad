"""Run a command with a token in its environment, or in a file that is kept fresh.

The command replaces this process (execve), so signals, terminal and exit code are its own. A file
is kept fresh by a background process that is not a child of the command. It has its own session, so
that Ctrl-C does not reach it, and neither the command's input nor its output. It exits with the
command.

The command does not get the variables that lead to the long-lived token, which keeps it out of
crash reports and dumps of environments. This is no security boundary: the command runs as the same
user.
"""

import fcntl
import os
import select
import shutil
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import NoReturn

from daypass._core.errors import DaypassError, UsageError
from daypass._core.text import printable
from daypass.agent.file_renewer import FileRenewer
from daypass.client.credentials_source import FIELD_VARIABLES, FILE_VARIABLE

_LOOK_SECONDS = 1.0
_HAS_PIDFD = hasattr(os, "pidfd_open")
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""As shells have it (POSIX, Shell Command Language, 2.8.2)."""


class CommandError(DaypassError):
    """The command could not be started; `exit_code` is the one that a shell would use."""

    def __init__(self, fact: str, hint: str, exit_code: int) -> None:
        super().__init__(fact, hint)
        self.args = (fact, hint, exit_code)
        self.exit_code = exit_code


def child_environment(
    environ: Mapping[str, str],
    name: str,
    value: str,
    *,
    variables: Sequence[str],
    with_credentials: bool,
) -> dict[str, str]:
    """Return the command's environment, with `name` set and without the credentials.

    `variables` are those that the credentials name. Raises UsageError if `name` is one of them.
    """
    if name in variables:
        raise UsageError(
            f"the credentials read the long-lived token from the variable {name}",
            "name another variable for the short-lived one",
        )
    taken_out = () if with_credentials else (FILE_VARIABLE, *FIELD_VARIABLES, *variables)
    kept = {key: text for key, text in environ.items() if key not in taken_out}
    return {**kept, name: value}


def become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by `command`. Raises CommandError if it can't be started."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and execve keeps that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is meant
    except (OSError, ValueError) as error:
        name = printable(repr(command[0]), 80)
        if not command[0] or isinstance(error, FileNotFoundError | NotADirectoryError):
            raise CommandError(
                f"there is no command {name}", "is it installed, and on PATH?", NOT_FOUND
            ) from None
        reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
        raise CommandError(
            f"the command {name} cannot be run: {reason}", "is it executable?", NOT_EXECUTABLE
        ) from None


def private_folder(environ: Mapping[str, str]) -> str:
    """Return a new private folder for one token file, in memory if possible. Raises OSError."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = runtime if runtime.startswith("/") and os.access(runtime, os.W_OK | os.X_OK) else None
    return tempfile.mkdtemp(prefix="daypass-run-", dir=base)


def keep_fresh(renewer: FileRenewer, folder: str) -> None:
    """Start a background process that keeps the file fresh.

    When this process, or the command that replaces it, has ended, it removes `folder`.
    """
    watched = os.getpid()
    # Opened now, because the process id could be reused later.
    descriptor = _above_the_standard_ones(os.pidfd_open(watched)) if _HAS_PIDFD else -1
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        if descriptor >= 0:
            os.close(descriptor)
        return
    try:
        os.setsid()
        if os.fork() == 0:  # adopted by init, so that the command has no unexpected child
            _keep(renewer, folder, watched, descriptor)
    finally:
        os._exit(0)


def _above_the_standard_ones(descriptor: int) -> int:
    """Return the descriptor moved to 3 or above; it is 0 or 1 if stdin or stdout is closed."""
    if descriptor > 2:
        return descriptor
    above = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return above


def _keep(renewer: FileRenewer, folder: str, watched: int, descriptor: int) -> None:
    # A signal to both processes must not end this one before the command.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # or readers of the command's output would wait for this process
    threading.Thread(target=renewer.run, daemon=True).start()
    _await_end(watched, descriptor)
    remove(folder)


def _await_end(watched: int, descriptor: int) -> None:
    if descriptor >= 0:
        select.select([descriptor], [], [])
        return
    while _is_there(watched):
        threading.Event().wait(_LOOK_SECONDS)


def _is_there(watched: int) -> bool:
    try:
        os.kill(watched, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a command that became another user
        return True
    return True


def remove(folder: str) -> None:
    """Remove a folder during a possible renewal: rename it first, so that nothing is added."""
    gone = f"{folder}.gone"
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
