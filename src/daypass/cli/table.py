"""A table in text: columns as wide as what is in them, as kubectl draws them."""

from __future__ import annotations

from collections.abc import Sequence

from daypass._core.status import printable

GAP = "   "
LONGEST_CELL_CHARACTERS = 4000


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines, each with its newline. What would steer a terminal is taken out of the cells."""
    lines = [
        headings,
        *([printable(cell, LONGEST_CELL_CHARACTERS) for cell in row] for row in rows),
    ]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    return "".join(
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
