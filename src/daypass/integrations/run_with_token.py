"""Run a command with a token in its environment, or in a file that is kept fresh.

The command replaces this process (execve), so signals, terminal and exit code are its own. A
background process keeps the file fresh. It is not a child of the command. It has its own session,
so that Ctrl-C does not reach it, and of the command's open files only stderr, which it closes when
the command ends.

The command does not get the variables that lead to the long-lived token, which keeps it out of
crash reports and dumps of environments. This is no security boundary: the command runs as the same
user.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import threading
from contextlib import closing, suppress

from daypass._core.errors import DaypassError, UsageError
from daypass._core.text import printable
from daypass.client.credentials_source import FILE_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from daypass.agent.file_renewer import FileRenewer

_LONGEST_SLEEP_SECONDS = 30.0
"""Check the clock this often: a machine does not report that it was asleep."""
_LOOK_SECONDS = 0.1
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""As shells have it (POSIX, Shell Command Language, 2.8.2)."""


class CommandError(DaypassError):
    """The command could not be started; `exit_code` is the one that a shell would use."""

    def __init__(self, fact: str, hint: str, exit_code: int) -> None:
        super().__init__(fact, hint)
        self.args = (fact, hint, exit_code)
        self.exit_code = exit_code


def child_environment(
    environ: Mapping[str, str], name: str, value: str, *, variables: Sequence[str]
) -> dict[str, str]:
    """Return the command's environment, with `name` set and without the credentials.

    `variables` are those that the credentials name. Raises UsageError if `name` is one of them.
    """
    if name in variables:
        raise UsageError(
            f"the credentials read the long-lived token from the variable {name}",
            "name another variable for the short-lived one",
        )
    taken_out = (FILE_VARIABLE, *variables)
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
    import tempfile

    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = runtime if runtime.startswith("/") and os.access(runtime, os.W_OK | os.X_OK) else None
    return tempfile.mkdtemp(prefix="daypass-run-", dir=base)


def keep_fresh(renewer: FileRenewer, folder: str) -> None:
    """Start a background process that keeps the file fresh, and removes `folder` at the end."""

    def keep(command: _Command) -> None:
        threading.Thread(target=renewer.run, daemon=True).start()
        while not command.ends_within(_LONGEST_SLEEP_SECONDS):
            pass
        os.dup2(0, 2)  # at once: a reader of stderr waits for this
        remove(folder)

    _in_background(keep)


def _in_background(work: Callable[[_Command], None]) -> None:
    """Call `work` in a background process that has nothing of this one's open but stderr.

    Raises OSError if it can't be started.
    """
    command = _Command()
    between = os.fork()
    if between:
        status = 0
        with suppress(ChildProcessError):  # SIGCHLD may be ignored, which is inherited
            _, status = os.waitpid(between, 0)
        command.close()
        if status:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return
    code = 1
    try:
        os.setsid()
        adopted = os.fork()  # by init, so that the command has no unexpected child
        code = 0
        if adopted == 0:
            # A signal to both processes must not end this one before the command.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)
            command.detach()
            work(command)
    finally:
        os._exit(code)


class _Command:
    """This process, which becomes the command, as the background process sees it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._pidfd = -1
        # Opened now, because the process id could be reused later. macOS has none, and a filter of
        # system calls may refuse it.
        with suppress(AttributeError, OSError):
            self._pidfd = _above_the_standard_ones(os.pidfd_open(self._pid))

    def close(self) -> None:
        """Close what only the background process needs."""
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def detach(self) -> None:
        """Close all that was inherited but stderr, or its readers would wait for this process."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        if self._pidfd >= 0:
            self._pidfd = os.dup2(self._pidfd, 3)
        lowest = 4 if self._pidfd >= 0 else 3
        try:  # not up to the limit: that may be none, or have been lowered after a file was opened
            inherited = [int(name) for name in os.listdir("/dev/fd")]
        except OSError:  # a root folder without it
            inherited = list(range(65536))
        for descriptor in inherited:
            if descriptor >= lowest:
                with suppress(OSError):  # the one of the listing is closed already
                    os.close(descriptor)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, for at most so long, and return whether it has ended.

        It has, even if its parent has not waited for it: that may read its stderr to the end first.
        """
        if self._pidfd >= 0:
            return bool(select.select([self._pidfd], [], [], seconds)[0])
        if sys.platform == "darwin":
            end = select.kevent(
                self._pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT
            )
            with suppress(ProcessLookupError), closing(select.kqueue()) as queue:
                return bool(queue.control([end], 1, seconds))
            return True
        select.select([], [], [], min(seconds, _LOOK_SECONDS))
        try:
            with open(f"/proc/{self._pid}/stat", "rb") as status:
                return status.read().rpartition(b") ")[2][:1] in b"ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True


def _above_the_standard_ones(descriptor: int) -> int:
    """Return the descriptor moved to 3 or above; it is 0 or 1 if stdin or stdout is closed."""
    if descriptor > 2:
        return descriptor
    above = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return above


def remove(folder: str) -> None:
    """Remove a folder during a possible renewal: rename it first, so that nothing is added."""
    import shutil

    gone = f"{folder}.gone"
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
