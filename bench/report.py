"""Figures as lines on stdout and as rows of the tables in docs/performance.md.

A page has a table of each measurement between `<!-- bench: NAME -->` and `<!-- /bench -->`. What is
outside stays as it is.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tools.reference.markdown import filled

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

_rows: list[tuple[str, str, str, str]] = []


def figure(
    what: str, values: str, *, ratio: str = "", bar: str = "", judged: float | None = None
) -> None:
    """Report a measured thing: its values with their unit, a ratio, and what it should be.

    If `bar` is a number alone, such as `>= 0.9`, the table says whether the ratio missed it; if it
    has the unit of the first of the values, whether that did. `judged`: the ratio that has to hold,
    if that is not the one that is shown first.
    """
    shown = ratio if judged is None else str(judged)
    bar += ", missed" if _is_missed(values, shown, bar) else ""
    _rows.append((what.replace("|", "vs"), values, ratio, bar))
    parts = (f"{what:<56} {values}", f"ratio {ratio}" if ratio else "", f"bar {bar}" if bar else "")
    print("  ".join(filter(None, parts)), flush=True)


def short(value: float) -> str:
    """Return a value with three digits, or all that it has before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float], digits: int, unit: str) -> str:
    """Return the median of some values with their range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} {unit} ({low:,.{digits}f}-{high:,.{digits}f})"


def _is_missed(values: str, ratio: str, bar: str) -> bool:
    target = re.fullmatch(r"([<>])= ([\d.]+)(?: (\S+))?", bar)
    if target is None:
        return False
    found = re.match(r"([+-]?[\d.]+)(?: (\S+))?", values if target[3] else ratio)
    if found is None or (target[3] and found[2] != target[3]):
        return False
    measured, wanted = float(found[1]), float(target[2])
    return measured < wanted if target[1] == ">" else measured > wanted


def write_table(name: str, page: Path = PAGE) -> None:
    """Replace the table of a measurement by the figures since the last call.

    Raises ValueError if the page has no place for it.
    """
    rows = [("measured", "values", "ratio", "target"), ("---",) * 4]
    lines = [f"| {' | '.join(each)} |" for each in (*rows, *_rows)]
    content = "\n".join((*lines, "", _stamp(name)))
    page.write_text(filled(page.read_text(), "bench", name, content))
    _rows.clear()


def _stamp(name: str) -> str:
    """Return what was measured, when and where."""
    cpu = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    machine = f"{os.cpu_count()} cores ({cpu})"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"`{name}`, {day}: {machine}."
