"""What Hypothesis has found, as a decorator to paste."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BEGINNINGS = ("Failing test case: ", "Falsifying example: ")  # as versions of Hypothesis have it


def decorators(error: BaseException, fixtures: Iterable[str]) -> Iterator[str]:
    """`@example(...)` for each example in the error's notes; arguments that are fixtures are left
    out, since they are no part of it.
    """
    for inner in getattr(error, "exceptions", ()):
        yield from decorators(inner, fixtures)
    for note in getattr(error, "__notes__", ()):
        if note.startswith(_BEGINNINGS) and note.splitlines()[0].endswith("("):  # no state machine
            yield as_decorator(note, fixtures)


def as_decorator(note: str, fixtures: Iterable[str]) -> str:
    _, *lines = note.splitlines()
    kept, leaving_out = [], False
    for line in lines[:-1]:
        if line.startswith("    ") and not line.startswith("     "):  # an argument begins
            leaving_out = line.strip().partition("=")[0] in fixtures
        if not leaving_out:
            kept.append(line)
    return "\n".join(["@example(", *kept, ")"])
