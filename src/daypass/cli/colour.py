"""Colour: one rule for everything that commands print, and what the colours are.

NO_COLOR and CLICOLOR_FORCE (https://bixense.com/clicolors) decide, else whether the stream is a
terminal. Text from elsewhere is masked before it is painted. Formats for programs are
never painted.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_CODES = {
    "bold": "1", "dim": "2", "place": "36",
    "ok": "32", "warning": "33", "failure": "31", "skipped": "2",
}  # fmt: skip
_LINES = {
    "--- ": "bold", "+++ ": "bold", "@@ ": "place", "-": "failure", "+": "ok",
    "create ": "ok", "change ": "warning", "remove ": "failure", "release ": "warning",
    "health: ok": "ok", "  problem ": "failure", "  note ": "warning",
}  # fmt: skip
"""How lines begin, and their styles."""


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that knows more than plain text."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def is_coloured(stream: TextIO | None) -> bool:
    """Return whether text on this stream has colours."""
    if os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0") or is_terminal(stream)


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
