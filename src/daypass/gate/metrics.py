"""Metrics of the gate's programs in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METRIC_PREFIX = "daypass_gate_"


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


def labelled_counter(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    """Return a counter with one label."""
    family = CounterMetricFamily(METRIC_PREFIX + name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
