"""What the authorizer counts, in the text format of Prometheus. No label has endless values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from daypass.gateway.reasons import Reason

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Plain numbers; whoever changes them is the only one."""

    def __init__(self) -> None:
        self.decisions = dict.fromkeys(Reason, 0)
        self.remembered = 0
        self.remembered_refusals = 0
        self.unseen = 0
        self.evicted = 0
        self.denied = 0
        self.revoked_at: float | None = None
        self.answered = 0
        self.failed = 0
        self._buckets = [0] * (len(BUCKETS_SECONDS) + 1)
        self._seconds = 0.0

    def reviewed(self, seconds: float, *, is_answered: bool) -> None:
        """A TokenReview has ended."""
        self._buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self._seconds += seconds
        if is_answered:
            self.answered += 1
        else:
            self.failed += 1

    def lines(self) -> Iterator[str]:
        """The counters and the histogram."""
        yield from _header("decisions_total", "counter", "Decisions, by how they ended.")
        for reason, count in self.decisions.items():
            whole = count + (self.remembered if reason is Reason.ALLOWED else 0)
            yield f'daypass_gate_decisions_total{{reason="{reason}"}} {whole}'
        yield from _header("cache_lookups_total", "counter", "What was found in the cache.")
        for result, count in (
            ("hit", self.remembered),
            ("refused", self.remembered_refusals),
            ("miss", self.unseen),
        ):
            yield f'daypass_gate_cache_lookups_total{{result="{result}"}} {count}'
        yield from _header("reviews_total", "counter", "TokenReviews, by how they ended.")
        yield f'daypass_gate_reviews_total{{result="answered"}} {self.answered}'
        yield f'daypass_gate_reviews_total{{result="failed"}} {self.failed}'
        yield from counter("evicted_total", "Entries that a revocation has ended.", self.evicted)
        yield from self._histogram()

    def _histogram(self) -> Iterator[str]:
        name = "review_seconds"
        yield from _header(name, "histogram", "How long TokenReviews took.")
        total = 0
        for bound, count in zip(BUCKETS_SECONDS, self._buckets, strict=False):
            total += count
            yield f'daypass_gate_{name}_bucket{{le="{bound:g}"}} {total}'
        total += self._buckets[-1]
        yield f'daypass_gate_{name}_bucket{{le="+Inf"}} {total}'
        yield f"daypass_gate_{name}_sum {self._seconds:.6f}"
        yield f"daypass_gate_{name}_count {total}"


def gauge(name: str, text: str, value: float) -> Iterator[str]:
    """A gauge without labels."""
    yield from _header(name, "gauge", text)
    yield f"daypass_gate_{name} {value:g}"


def counter(name: str, text: str, value: float) -> Iterator[str]:
    """A counter without labels."""
    yield from _header(name, "counter", text)
    yield f"daypass_gate_{name} {value:.0f}"


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP daypass_gate_{name} {text}"
    yield f"# TYPE daypass_gate_{name} {kind}"
