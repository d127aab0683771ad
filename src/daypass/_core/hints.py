"""The commands that messages name: each is a line that a reader can paste into a shell.

Every message that names a command line of `daypass` or `kubectl` gets it from here. So words are
quoted in one place, and tests check that the program takes each line.
"""

from __future__ import annotations


class Placeholder(str):
    """A word that the reader replaces, such as FILE. It is not quoted."""

    __slots__ = ()


def command(*words: str) -> str:
    """Return the line that runs `daypass` with these arguments, quoted for a POSIX shell."""
    return _line("daypass", words)


def kubectl(*words: str) -> str:
    """The same for `kubectl`. The embedded API server of `daypass up` takes few of its commands."""
    return _line("kubectl", words)


def _line(program: str, words: tuple[str, ...]) -> str:
    from shlex import quote  # here: its imports cost more than a cached token may take

    return " ".join(
        [program, *(word if isinstance(word, Placeholder) else quote(word) for word in words)]
    )
