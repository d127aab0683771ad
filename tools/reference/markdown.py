"""What the pages share: tables, code, and the docstrings below constants."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterable, Sequence
from types import ModuleType


def filled(text: str, kind: str, name: str, content: str) -> str:
    """Return a page with this content between `<!-- KIND: NAME -->` and `<!-- /KIND -->`.

    Raises ValueError if the page has no such place, or several.
    """
    place = re.compile(rf"(?<=<!-- {kind}: {name} -->\n).*?(?=<!-- /{kind} -->)", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise ValueError(f"no place for {kind}: {name}")
    return place.sub(lambda _: f"\n{content.strip()}\n\n", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a vertical bar in a cell is escaped."""
    return "\n".join(map(_row, (head, ["---"] * len(head), *rows)))


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and what they mean."""
    return "\n".join(f"- {name}: {' '.join(meaning.split())}" for name, meaning in rows)


def _row(cells: Sequence[str]) -> str:
    lines = (" ".join(cell.replace("|", r"\|").split()) for cell in cells)
    return f"| {' | '.join(lines)} |"


def code(value: object) -> str:
    """Return a value as code."""
    return f"`{value}`"


def documented(part: ModuleType | type) -> dict[str, str]:
    """Return the docstring below each constant of a module, or each member of an enumeration."""
    (body,) = (
        node.body
        for node in ast.walk(ast.parse(inspect.getsource(part)))
        if isinstance(node, ast.Module if isinstance(part, ModuleType) else ast.ClassDef)
    )
    found = {}
    for node, after in itertools.pairwise(body):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[node.targets[0].id] = inspect.cleandoc(str(after.value.value))
    return found
