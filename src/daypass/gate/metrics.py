"""Metrics of the gate's programs in Prometheus's text format.

No label has an unbounded number of values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from daypass.rules.reasons import Reason

METRIC_PREFIX = "daypass_gate_"
BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def exposition(collector: Collector) -> str:
    """Return the metrics of a collector in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


def gauge(name: str, text: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(METRIC_PREFIX + name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """Return a counter without labels; `name` is without `_total`."""
    return CounterMetricFamily(METRIC_PREFIX + name, text, value=value)


class Durations:
    """Counts how long something took, in buckets with these upper bounds."""

    def __init__(self, bounds: Sequence[float] = BUCKETS_SECONDS) -> None:
        self.seconds = 0.0
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)

    def add(self, seconds: float) -> None:
        """Count one more."""
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Pairs of an upper bound and how many took no longer."""
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        return [*zip(bounds, map(float, accumulate(self._buckets)), strict=True)]


class QuestionMetrics:
    """Counts reviews of a kind, how long they took, and `hits`, `refused` and `misses`: which
    questions were answered from the cache.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.refused = 0
        self.misses = 0
        self.answered = 0
        self.failed = 0
        self.durations = Durations()

    def finished(self, seconds: float, *, is_answered: bool) -> None:
        """Count a finished review."""
        self.durations.add(seconds)
        if is_answered:
            self.answered += 1
        else:
            self.failed += 1


class GateMetrics:
    """The authorizer's counters for one gate. They are plain integers, since they change with every
    request; one thread writes them.

    `passed`: decisions from the cache alone, which are in no other counter. `token_reviews`,
    `access_reviews`: of the API server.
    """

    def __init__(self) -> None:
        self.decisions = dict.fromkeys(Reason, 0)
        self.passed = 0
        self.evicted = 0
        self.token_reviews = QuestionMetrics()
        self.access_reviews = QuestionMetrics()


def gate_families(gates: Mapping[str, GateMetrics]) -> Iterator[Metric]:
    """Return the counters and the histograms of gates by name for Prometheus."""
    decisions = _counter("decisions", "Decisions, by reason.", "reason")
    lookups = _counter("cache_lookups", "Cache lookups, by result.", "result")
    evicted = _counter("evicted", "Cached decisions removed since they no longer hold.")
    for name, of in gates.items():
        for reason, count in of.decisions.items():
            decisions.add_metric([name, reason], count + of.passed * (reason is Reason.ALLOWED))
        tokens = of.token_reviews
        hits = tokens.hits + of.passed
        for result, count in (("hit", hits), ("refused", tokens.refused), ("miss", tokens.misses)):
            lookups.add_metric([name, result], count)
        evicted.add_metric([name], of.evicted)
    yield from (decisions, lookups, evicted)
    of_tokens = {name: of.token_reviews for name, of in gates.items()}
    yield from _review_families("review", "TokenReviews", of_tokens)
    of_accesses = {name: of.access_reviews for name, of in gates.items()}
    yield from _review_families("access_review", "SubjectAccessReviews", of_accesses)


def _review_families(
    name: str, kind: str, gates: Mapping[str, QuestionMetrics]
) -> tuple[Metric, Metric]:
    results = _counter(f"{name}s", f"{kind}, by result.", "result")
    seconds = HistogramMetricFamily(
        f"{METRIC_PREFIX}{name}_seconds", f"Duration of {kind}.", labels=["gate"]
    )
    for gate, of in gates.items():
        for result, count in (("answered", of.answered), ("failed", of.failed)):
            results.add_metric([gate, result], count)
        seconds.add_metric([gate], of.durations.buckets, of.durations.seconds)
    return results, seconds


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(METRIC_PREFIX + name, text, labels=["gate", *labels])
