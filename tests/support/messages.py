"""What daypass says to people, kept word for word in `tests/golden/messages.txt`.

A test asserts the outcome: which error, on which line, with which value. The wording is looked up
in the file, so that a better sentence changes the file and no test. A line of the file holds a
reason and a text, separated by a tab. To accept a change, delete the line that it replaces, run
`DAYPASS_GOLDEN=update pytest PATH`, and read the diff.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from daypass._core.errors import DaypassError, reason_code

TESTS = Path(__file__).parent.parent
GOLDEN = TESTS / "golden" / "messages.txt"
UPDATE = os.environ.get("DAYPASS_GOLDEN") == "update"
"""Read at the start: tests of the client remove all DAYPASS_ variables."""

E = TypeVar("E", bound=BaseException)

VOLATILE = (
    (r"\S*/pytest-of-[^/\s]+/pytest-\d+/(popen-gw\d+/)?[^/\s:'\"]+", "TMP"),
    (re.escape(str(TESTS.parent)), "REPO"),
    (r"(\S+ -m ensurepip && \S+ -m|uv) pip install( --python \S+)?", "pip install"),
    (r"(?<=127\.0\.0\.1:|localhost:)\d+", "PORT"),
    (r"(?<=\[::1\]:)\d+", "PORT"),
    (r"(?<=-daypass-)[a-z0-9]{20}\b|(?<=-daypass-anchor-)[a-z0-9]{20}\b", "RANDOM"),
    (r"(?<=\bteam-)[a-z0-9]{8}\b|(?<=\bprofile-)[a-z0-9]{8}\b", "RANDOM"),
    (r"\b[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\b", "UID"),
    (r"(?<=^daypass: )\d\d:\d\d:\d\d\b", "TIME"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", "JWT"),
)
"""What differs between two runs, and what is written for it."""


@contextmanager
def raises(
    kind: type[E], *, match: str | None = None, hide: str | None = None
) -> Iterator[pytest.ExceptionInfo[E]]:
    """Expect an error of this kind, and its message as it is in the golden file.

    `match`: a pattern for the offending value, or where it is. `hide`: one for what else differs
    between two runs.
    """
    with pytest.raises(kind, match=match) as info:
        yield info
    check(info.value, hide=hide)


def check(
    message: BaseException | str, *values: str, reason: str | None = None, hide: str | None = None
) -> None:
    """Fail unless a message names these values, and is in the golden file.

    `reason`: of a message that is text; an error has its own.
    """
    assert [value for value in values if value not in str(message)] == [], message
    if not isinstance(message, str):
        reason = reason_of(message)
    entry = (reason or "", _one_line(str(message), hide))
    if UPDATE:
        _write(entry)
    assert entry in read(), (
        f"{GOLDEN.name} does not have it; if it is right, run this test with DAYPASS_GOLDEN=update"
    )


def line_with(text: str, value: str) -> str:
    """The line of a printed text that holds a value. Fails where there is none, or another one."""
    lines = {line.strip() for line in text.splitlines() if value in line}
    assert len(lines) == 1, f"{value!r} in {len(lines)} lines of\n{text}"
    return lines.pop()


def message_with(text: str, value: str) -> str:
    """The message of a command that holds a value, with its hint. Fails as `line_with` does."""
    messages = {
        each.strip()
        for each in re.split(r"^daypass: (?:\d\d:\d\d:\d\d )?", text, flags=re.M)
        if value in each
    }
    assert len(messages) == 1, f"{value!r} in {len(messages)} messages of\n{text}"
    return messages.pop()


def reason_of(error: BaseException) -> str:
    """The reason code of an error; for one of Python's own, the code that its class would have."""
    return error.reason if isinstance(error, DaypassError) else reason_code(type(error))


def read() -> set[tuple[str, str]]:
    """The entries of the file: reason and text."""
    lines = GOLDEN.read_text().splitlines() if GOLDEN.exists() else ()
    return {(reason, text) for reason, _, text in (line.partition("\t") for line in lines)}


def _one_line(text: str, hide: str | None) -> str:
    for pattern, replacement in VOLATILE:
        text = re.sub(pattern, replacement, text)
    if hide is not None:
        text = re.sub(hide, "...", text)
    shown = (c if c.isprintable() and c != "\\" else repr(c)[1:-1] for c in text.strip())
    return "".join(shown)


def _write(entry: tuple[str, str]) -> None:
    with GOLDEN.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers update at once
        lines = sorted("\t".join(each) for each in {*read(), entry})
        GOLDEN.write_text("".join(f"{line}\n" for line in lines))
