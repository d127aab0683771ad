"""stdout and stderr: results go to the one, messages to the other; and what is in colour there.

Text from elsewhere is masked before it is painted. Formats for programs are never painted.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_CODES = {
    "bold": "1", "dim": "2", "hunk": "36",
    "ok": "32", "warning": "33", "failure": "31", "skipped": "2",
}  # fmt: skip
_LINES = {
    "--- ": "bold", "+++ ": "bold", "@@ ": "hunk", "-": "failure", "+": "ok",
    "create ": "ok", "change ": "warning", "remove ": "failure", "release ": "warning",
    "health: ok": "ok", "  problem ": "failure", "  note ": "warning",
}  # fmt: skip
"""How lines begin, and their styles."""


def write(text: str) -> None:
    """Write a result to stdout and flush it.

    Raises BrokenPipeError if the reader is gone, DaypassError if stdout can't be written otherwise.
    """
    reason: str | None = "stdout is closed" if text else None
    if sys.stdout is not None:  # None if stdout was closed before the start
        try:
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
            head = paint(level, head, sys.stderr)
        sys.stderr.write(head + mask_unprintable("".join(lines), keep="\n"))
    except (OSError, ValueError):
        pass


def warn(fact: str, hint: str = "") -> None:
    """Write a warning to stderr: the command goes on."""
    log(fact, hint, level="warning")


def log_waiting(what: str) -> None:
    """Log what a command waits for."""
    log(f"waiting: {what}")


def flush_stderr() -> None:
    """Flush stderr and ignore failures, which would otherwise make the exit code 120."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except ValueError:
        pass  # it is closed


def is_coloured(stream: TextIO | None) -> bool:
    """Return whether text on this stream has colours.

    NO_COLOR and CLICOLOR_FORCE (https://bixense.com/clicolors) decide, else whether the stream is a
    terminal.
    """
    if os.environ.get("NO_COLOR"):
        return False
    is_terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    return os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0") or is_terminal


def paint(style: str, text: str, stream: TextIO | None = None) -> str:
    """Return text for a stream (stdout by default) in a style, if that stream has colours."""
    if not style or not text or not is_coloured(stream or sys.stdout):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def paint_lines(text: str) -> str:
    """Return diffs, changes to objects and the health of an identity, painted for stdout."""
    lines = []
    for line in text.splitlines():
        begun = line.removeprefix("would ")
        style = next((it for start, it in _LINES.items() if begun.startswith(start)), "")
        lines.append(paint(style, line) + "\n")
    return "".join(lines)
