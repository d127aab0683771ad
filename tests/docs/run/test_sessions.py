"""A page that is followed fails where it differs from what happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs.pages import read_page

from docs import sessions
from docs.sessions import Session, follow, session

UP = "$ cp -r examples ../lab && cd ../lab && daypass up --state state\n...\n"
READY = "daypass: Ctrl-C stops it"
PAGES = {
    "```console\n$ echo a\nb\n```": "prints something else",
    "```console\n$ false\n```": "ends with 1",
    '```python title="a.py"\nassert False\n```\n\n```sh\npython a.py\n```': "AssertionError",
    "<!-- docs: run, false -->": "ends with 1",
    "<!-- docs: eventually, never -->\n```console\n$ echo a\nb\n```": "prints something else",
    f"```console\n{UP}daypass: the end\n```": "Ctrl-C stops it",
    f"```console\n{UP}{READY}\n```\n\n```sh\nkill -KILL $!\n```": "stops with 137",
}


def mistakes(text: str, terminal: Session) -> list[str]:
    return list(follow(read_page(Path("docs/page.md"), text), terminal))


@pytest.mark.parametrize(("text", "words"), PAGES.items(), ids=range(len(PAGES)))
def test_a_difference_is_found(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "READY_SECONDS", 10)
    with session() as terminal:
        (mistake,) = mistakes(text, terminal)
    assert words in mistake
    assert mistake.startswith("docs/page.md")
