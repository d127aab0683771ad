"""The command lines in messages, which a reader can paste into a shell.

Every message that names a command of `daypass` or `kubectl` gets it from here, so words are quoted
in one place, and tests check that the program accepts each line.

A command of the CLI names others for the same cluster and config: `carry` returns the options to
add to a line, those that were given and that the other program or command has, too.
"""

from __future__ import annotations


class Placeholder(str):
    """A word that the reader replaces, such as FILE. It is not quoted."""

    __slots__ = ()


def carry_nothing(program: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return no options: what the library does, and a command that was given none."""
    return ()


carry = carry_nothing


def command(*words: str) -> str:
    """Return the line that runs `daypass` with these arguments, quoted for a POSIX shell."""
    return _line("daypass", words + carry("daypass", words))


def kubectl(*words: str) -> str:
    """Return the line that runs `kubectl` with these arguments."""
    return _line("kubectl", words + carry("kubectl", words))


def _line(program: str, words: tuple[str, ...]) -> str:
    from shlex import quote  # here: its imports take longer than printing a cached token

    return " ".join(
        [program, *(word if isinstance(word, Placeholder) else quote(word) for word in words)]
    )
