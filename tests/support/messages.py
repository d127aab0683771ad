"""What daypass says to people, kept word for word in `tests/golden/messages.txt`.

A test asserts the outcome: which error, on which line, with which value. The wording is compared
with the file, so that a better sentence changes the file and no test. A line of the file holds the
test case, the reason and the text, separated by tabs. To accept a change:
`DAYPASS_GOLDEN=update pytest PATH`, then read the diff.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

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

_count: tuple[str, int] = ("", 0)


class Caught(Generic[E]):
    """The error that `raises` caught; `value` is there after its block."""

    value: E


@contextmanager
def raises(
    kind: type[E], *, match: str | None = None, hide: str | None = None
) -> Iterator[Caught[E]]:
    """Expect an error of this kind, and its message as it is in the golden file.

    `match`: a pattern for the offending value, or where it is. `hide`: one for what else differs
    between two runs.
    """
    caught = Caught[E]()
    with pytest.raises(kind, match=match) as info:
        yield caught
    caught.value = info.value
    check(info.value, hide=hide)


def check(
    message: BaseException | str, *values: str, reason: str | None = None, hide: str | None = None
) -> None:
    """Fail unless a message names these values, and the golden file has it for the running test.

    `reason`: of a message that is text; an error has its own. Call it once for each message, in
    the same order each time.
    """
    assert [value for value in values if value not in str(message)] == [], message
    if reason is None:
        reason = "" if isinstance(message, str) else reason_of(message)
    case = _next_case()
    text = _one_line(str(message), hide)
    if UPDATE:
        _write(case, reason, text)
        return
    expected = read().get(case)
    assert expected is not None, (
        f"{GOLDEN.name} has no entry for {case}; run this test with DAYPASS_GOLDEN=update"
    )
    assert (reason, text) == expected


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


def read() -> dict[str, tuple[str, str]]:
    if not GOLDEN.exists():
        return {}
    parts = (line.split("\t") for line in GOLDEN.read_text().splitlines())
    return {case: (reason, text) for case, reason, text in parts}


def _next_case() -> str:
    """The running test, and a number from its second message on."""
    global _count
    node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0].removeprefix("tests/")
    node = _one_line(node, None)
    _count = (node, _count[1] + 1 if _count[0] == node else 1)
    return node if _count[1] == 1 else f"{node} #{_count[1]}"


def _one_line(text: str, hide: str | None) -> str:
    for pattern, replacement in VOLATILE:
        text = re.sub(pattern, replacement, text)
    if hide is not None:
        text = re.sub(hide, "...", text)
    shown = (c if c.isprintable() and c != "\\" else repr(c)[1:-1] for c in text.strip())
    return "".join(shown)


def _write(case: str, reason: str, text: str) -> None:
    with GOLDEN.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers update at once
        entries = {**read(), case: (reason, text)}
        lines = ("\t".join((case, *entry)) for case, entry in sorted(entries.items()))
        GOLDEN.write_text("".join(f"{line}\n" for line in lines))
