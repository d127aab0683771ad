"""Health and metrics of the watch of a cluster's gates."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from daypass._core.clock import Clock
from daypass._core.server.status_server import Routes, health_routes
from daypass.gate.metrics import METRIC_PREFIX, counter, exposition, gauge
from daypass.gate.watch.controller import Controller


class WatchStatus:
    """Reads a controller from any thread."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock

    @property
    def routes(self) -> Routes:
        """`/healthz`: it runs. `/readyz`: it has listed everything, lately. `/status`: whether an
        administrator has to act, and why. `/metrics`.
        """
        health = health_routes(metrics=lambda: exposition(self), why_not_ready=self._why_not_ready)
        return {**health, "/status": self._status}

    def collect(self) -> Iterator[Metric]:
        """Return all metrics for Prometheus."""
        controller, observation = self._controller, self._controller.observer.observation()
        yield _gauge("leader", "1 for the replica that publishes.", controller.is_leader)
        yield _gauge("healthy", "1 if no administrator has to act.", not controller.problems())
        text = "Shards of the set, denials and keys that this replica has published."
        yield counter("watch_publications", text, controller.publications)
        lag = HistogramMetricFamily(
            f"{METRIC_PREFIX}watch_publish_lag_seconds",
            "Time from when this replica saw a change to its publication.",
            buckets=controller.lags.buckets,
            sum_value=controller.lags.seconds,
        )
        yield lag
        keys = controller.publisher.keys
        if keys is not None and keys.fetched_at is not None:
            age = self._clock.monotonic() - keys.fetched_at
            text = "Time since the API server's signing keys were last read."
            yield _gauge("keys_age_seconds", text, age)
        if (leader := controller.leader) is not None:
            published = leader.published
            closes = min(shard.closes_unix for shard in published.shards)
            left = round(closes - self._clock.unix())
            credentials = published.count
            yield _gauge("credentials", "Credentials in the published set.", credentials)
            yield _gauge("denials", "Published denials.", len(published.denials))
            yield _gauge("closes_seconds", "Time until the first shard closes.", left)
            if closes:  # it was published once
                text = "Time since the oldest listing that the published set relies on."
                age = controller.close_after_seconds - left
                yield _gauge("published_age_seconds", text, age)
            text = "Objects that a gateway does not have as they are published, by gate."
            lacking = GaugeMetricFamily(f"{METRIC_PREFIX}watch_lacking", text, labels=["gate"])
            for name, gate in controller.publisher.gates.items():
                lacking.add_metric([name], gate.lacking)
            yield lacking
        watched = len(observation.namespaces.keys() - observation.unwatched.keys())
        unwatched, left_out = len(observation.unwatched), sum(observation.left_out.values())
        yield _gauge("namespaces", "Watched identity namespaces.", watched)
        name, text = "namespaces_unwatched", "Identity namespaces that cannot be listed."
        yield _gauge(name, text, unwatched)
        yield _gauge(
            "credentials_left_out", "Credentials beyond the limit of their namespace.", left_out
        )

    def _why_not_ready(self) -> str:
        if not self._controller.observer.observation().is_complete:
            return "not everything has been listed yet"
        problems = self._controller.problems()
        return problems.get("closed") or problems.get("publish") or ""

    def _status(self) -> tuple[int, str]:
        controller, problems = self._controller, self._controller.problems()
        lease = controller.publisher.lease
        holder = "" if lease is None else lease.holder
        document = {"state": controller.state.value, "holder": holder, "problems": problems}
        return 503 if problems else 200, json.dumps(document, indent=2) + "\n"


def _gauge(name: str, text: str, value: float) -> Metric:
    return gauge(f"watch_{name}", text, value)
