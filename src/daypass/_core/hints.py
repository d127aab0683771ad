"""The next steps in messages: command lines, how to install an extra, pages of the docs.

Every message that names a command of `daypass` or `kubectl` gets it from here, so words are quoted
in one place, and tests check that the program accepts each line.

A command of the CLI names others for the same cluster and config: `carry` returns the options to
add to a line, those that were given and that the other program or command has, too.
"""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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


# -- this copy of daypass


def how_to_install(extra: str) -> str:
    """Return how to add an extra to this copy.

    It never names daypass alone: a package index may have another package of that name.
    """
    from shlex import quote

    if (checkout := _checkout()) is not None:
        return f"uv pip install --python {quote(sys.executable)} -e {quote(f'{checkout}[{extra}]')}"
    return f"install this copy of daypass again, from where it came, with its extra `{extra}`"


def path_with_daypass() -> str:
    """Return the assignment to PATH with which another shell finds this copy of daypass."""
    from shlex import quote
    from shutil import which

    beside = os.path.join(os.path.dirname(sys.executable), "daypass")
    running = [path for path in (sys.argv[0], beside) if os.path.basename(path) == "daypass"]
    found = next(filter(os.path.isfile, running), None) or which("daypass") or sys.executable
    return f'PATH={quote(os.path.dirname(os.path.abspath(found)))}:"$PATH"'


def docs_page(name: str) -> str:
    """Return the path in this installation of a page of docs, such as "how-to/apply.md"."""
    checkout = _checkout()
    return os.path.join(_PACKAGE if checkout is None else checkout, "docs", name)


def _checkout() -> str | None:
    """Return the checkout that this copy is in: installed with -e, or not installed."""
    root, source = os.path.split(os.path.dirname(_PACKAGE))
    is_checkout = source == "src" and os.path.exists(os.path.join(root, "pyproject.toml"))
    return root if is_checkout else None
