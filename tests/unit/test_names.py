"""A reader can look a name up: each class name means one thing, each module is readable at once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import daypass

SOURCE = Path(daypass.__file__).parent
SAME_BY_DESIGN = {"Auth"}
"""The authentication class of each HTTP library's adapter, which users import by its module."""
LONGEST_MODULE = 500


def test_no_two_classes_have_the_same_name() -> None:
    names = Counter(
        node.name
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == SAME_BY_DESIGN


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert [path for path, length in lengths.items() if length > LONGEST_MODULE] == []


def test_a_folder_has_at_least_three_modules() -> None:
    folders = Counter(path.parent for path in SOURCE.rglob("*.py") if path.parent != SOURCE)
    assert [folder for folder, count in folders.items() if count < 3] == []


def test_each_module_that_the_contributors_guide_names_exists() -> None:
    guide = (SOURCE.parent.parent / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([a-z_0-9]+/[a-z_0-9/]+\.py)`", guide))
    roots = (SOURCE, SOURCE.parent.parent)
    assert {each for each in named if not any((root / each).is_file() for root in roots)} == set()
    assert len(named) > 5
