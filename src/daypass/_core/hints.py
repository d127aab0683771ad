"""The command lines in messages, which a reader can paste into a shell.

Every message that names a command of `daypass` or `kubectl` gets it from here, so words are quoted
in one place, and tests check that the program accepts each line.
"""

from __future__ import annotations


class Placeholder(str):
    """A word that the reader replaces, such as FILE. It is not quoted."""

    __slots__ = ()


def command(*words: str) -> str:
    """Return the line that runs `daypass` with these arguments, quoted for a POSIX shell."""
    return _line("daypass", words)


def kubectl(*words: str) -> str:
    """Return the line that runs `kubectl` with these arguments."""
    return _line("kubectl", words)


def _line(program: str, words: tuple[str, ...]) -> str:
    from shlex import quote  # here: its imports take longer than printing a cached token

    return " ".join(
        [program, *(word if isinstance(word, Placeholder) else quote(word) for word in words)]
    )
