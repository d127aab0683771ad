"""stdout and stderr: results go to the one, messages to the other, next to a status line."""

from __future__ import annotations

import os
import sys


class Progress:
    """What a command shows while it works: nothing, unless it is a StatusLine.

    As a context manager, it makes way for something else that is written.
    """

    def show(self, text: str) -> bool:
        """Show what is going on now; return whether somebody sees it."""
        return False

    def wait(self, what: str) -> None:
        """Show what is waited for; log it if nobody would see it."""
        if not self.show(f"waiting: {what}"):
            log(f"waiting: {what}")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


status_line = Progress()
"""What is shown now. See `progress`."""


def write(text: str) -> None:
    """Write a result to stdout and flush it.

    Raises BrokenPipeError if the reader is gone, DaypassError if stdout can't be written otherwise.
    """
    reason: str | None = "stdout is closed" if text else None
    if sys.stdout is not None:  # None if stdout was closed before the start
        try:
            with status_line:
                try:
                    sys.stdout.write(text)
                except UnicodeEncodeError:  # a locale without the character, or a lone surrogate
                    sys.stdout.write(text.encode("ascii", "backslashreplace").decode())
                sys.stdout.flush()
            return
        except OSError as error:
            # Discard the buffer, or the interpreter tries again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            reason = error.strerror
    if reason:
        from daypass._core.errors import DaypassError

        raise DaypassError(f"the output could not be written: {reason}", "send it somewhere else")


def log(fact: str, hint: str = "", *, level: str = "") -> None:
    """Write a message to stderr: the fact, and below it, indented, what to do next.

    `level`: warning or failure, for its colour. Errors of stderr itself (a full disk, a closed
    pipe) are ignored.
    """
    from daypass._core.text import mask_unprintable

    if sys.stderr is None:
        return
    head = "daypass: warning:" if level == "warning" else "daypass:"
    first, *rest = fact.split("\n")
    lines = [f" {first}", *(f"\n  {line}" for line in (*rest, *hint.split("\n")) if line), "\n"]
    try:
        if level:
            from daypass.cli.colour import paint

            head = paint(level, head, sys.stderr)
        with status_line:
            sys.stderr.write(head + mask_unprintable("".join(lines), keep="\n"))
    except (OSError, ValueError):
        pass


def warn(fact: str, hint: str = "") -> None:
    """Write a warning to stderr: the command goes on."""
    log(fact, hint, level="warning")


def flush_stderr() -> None:
    """Flush stderr and ignore failures, which would otherwise make the exit code 120."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except ValueError:
        pass  # it is closed
