"""Metrics of the gate's programs in Prometheus's text format.

No label has an unbounded number of values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

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


class AuthorizerMetrics:
    """The authorizer's counters. They are plain integers, since they change with every request; one
    thread writes them.
    """

    def __init__(self) -> None:
        self.decisions = dict.fromkeys(Reason, 0)
        self.cache_hits = 0
        self.cached_refusals = 0
        self.cache_misses = 0
        self.evicted = 0
        self.published_at: float | None = None
        self.answered = 0
        self.failed = 0
        self._buckets = [0] * (len(BUCKETS_SECONDS) + 1)
        self._seconds = 0.0

    def reviewed(self, seconds: float, *, is_answered: bool) -> None:
        """Count a finished TokenReview."""
        self._buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self._seconds += seconds
        if is_answered:
            self.answered += 1
        else:
            self.failed += 1

    def families(self) -> Iterator[Metric]:
        """Return the counters and the histogram for Prometheus."""
        hits = self.cache_hits
        decisions = {str(reason): count for reason, count in self.decisions.items()}
        decisions[Reason.ALLOWED] += hits
        yield _labelled("decisions", "Decisions, by reason.", "reason", decisions)
        lookups = {"hit": hits, "refused": self.cached_refusals, "miss": self.cache_misses}
        yield _labelled("cache_lookups", "Cache lookups, by result.", "result", lookups)
        reviews = {"answered": self.answered, "failed": self.failed}
        yield _labelled("reviews", "TokenReviews, by result.", "result", reviews)
        yield counter(
            "evicted", "Cached decisions removed since they no longer hold.", self.evicted
        )
        yield self._histogram()

    def _histogram(self) -> Metric:
        total, buckets = 0, []
        bounds = [*(f"{bound:g}" for bound in BUCKETS_SECONDS), "+Inf"]
        for bound, count in zip(bounds, self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        name = f"{METRIC_PREFIX}review_seconds"
        return HistogramMetricFamily(
            name, "Duration of TokenReviews.", buckets=buckets, sum_value=self._seconds
        )


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(METRIC_PREFIX + name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
