"""The golden file of messages is sorted, and has each message once, with its reason."""

from __future__ import annotations

import ast
import re
from itertools import chain

from support.messages import GOLDEN, TESTS

SHORTEST = 7
"""Characters of a text in the source that make a message one of daypass."""
OTHERS = ("opens", "build")
"""Reasons of messages that only name keys of the config, or quote other programs."""


def test_entries_are_sorted_and_there_once() -> None:
    lines = GOLDEN.read_text().splitlines()
    assert lines == sorted(set(lines))
    assert [line for line in lines if not re.fullmatch(r"[^\t]*\t[^\t]+", line)] == []


def test_each_message_has_words_of_the_source() -> None:
    texts = set[str]()
    for file in chain(TESTS.parent.glob("src/**/*.py"), TESTS.parent.glob("tools/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.update(node.value.split("\n"))
    words = [text for text in texts if len(text) >= SHORTEST and text.strip()]
    entries = [line for line in GOLDEN.read_text().splitlines() if not line.startswith(OTHERS)]
    assert [entry for entry in entries if not any(text in entry for text in words)] == []
