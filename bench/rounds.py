"""Two things in turns, and the ratio of each pair."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.report import figure, short

NARROW = 0.06
"""Between which ratios a median may lie that is known well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Pairs of figures of two things that were measured in turns, in `unit`.

    `certain`: many rounds of a noisy measure. Said is then how well their median is known, not how
    far single rounds lie apart.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    bar: str
    certain: bool = False

    @property
    def ratios(self) -> list[float]:
        """ours / theirs, pair by pair, sorted."""
        return sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def is_narrow(self) -> bool:
        """Whether the true median is known well enough to compare it with a bar."""
        low, high = self._interval()
        return high - low < NARROW

    def report(self) -> None:
        """Print it, and keep it for the page."""
        ratios = self.ratios
        low, high = self._interval() if self.certain else (ratios[0], ratios[-1])
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        digits = 3 if self.certain else 2
        figure(
            self.name,
            f"{short(ours)}, {short(theirs)} {self.unit}",
            ratio=f"{statistics.median(ratios):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})",
            bar=self.bar,
            judged=(high if self.bar.startswith("<") else low) if self.certain else None,
        )

    def _interval(self) -> tuple[float, float]:
        """Between which two ratios the true median lies, in 19 of 20 runs (a sign test)."""
        ratios, rounds = self.ratios, len(self.ratios)
        further = 0.98 * rounds**0.5
        first = max(0, math.floor(rounds / 2 - further))
        return ratios[first], ratios[-1 - first]


def compare(
    name: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    *,
    rounds: int,
    unit: str,
    bar: str,
    certain: bool = False,
) -> Comparison:
    """Measure two things in turns after one round that does not count; prints the result."""
    ours(), theirs()
    pairs: list[tuple[float, float]] = []
    for index in range(rounds):
        # The one that goes first changes, so that neither always finds the machine rested.
        if index % 2:
            b, a = theirs(), ours()
        else:
            a, b = ours(), theirs()
        pairs.append((a, b))
    comparison = Comparison(
        name=name,
        unit=unit,
        ours=tuple(a for a, _ in pairs),
        theirs=tuple(b for _, b in pairs),
        bar=bar,
        certain=certain,
    )
    comparison.report()
    return comparison
