"""Two things in turns, and the ratio of each pair."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Pairs of figures of two things that were measured in turns, in `unit`."""

    name: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    bar: str

    @property
    def ratios(self) -> list[float]:
        """ours / theirs, pair by pair, sorted."""
        return sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    def line(self) -> str:
        """One line of a report."""
        ratios = self.ratios
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        figures = f"{self.name:<48} {ours:>9.4g} | {theirs:>9.4g} {self.unit:<4}"
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        return f"{figures} ratio {spread}  bar {self.bar}"


def compare(
    name: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    *,
    rounds: int,
    unit: str,
    bar: str,
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
    )
    print(comparison.line(), flush=True)
    return comparison
