"""Health and metrics of the controller of a cluster's gate."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from daypass._core.clock import Clock
from daypass._core.status_server import Routes
from daypass.gate.metrics import METRIC_PREFIX, counter, exposition, gauge
from daypass.gate.revocation.controller import RevocationController


class ControllerStatus:
    """Reads a controller from any thread."""

    def __init__(self, controller: RevocationController, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock

    @property
    def routes(self) -> Routes:
        """`/healthz`: it runs. `/readyz`: it has listed everything and gets events. `/status`:
        whether an administrator has to act, and why. `/metrics`.
        """
        return {
            "/healthz": lambda: (200, "alive\n"),
            "/readyz": self._ready,
            "/status": self._status,
            "/metrics": lambda: (200, exposition(self)),
        }

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by kind."""
        watcher = self._controller.watcher
        found = self._controller.problems()
        if watcher.unwatched_namespaces:
            found["namespaces"] = ", ".join(sorted(watcher.unwatched_namespaces))
        if watcher.is_closed:
            found["closed"] = "the API server has sent no events for too long, or never"
        return found

    def collect(self) -> Iterator[Metric]:
        """Return all metrics for Prometheus."""
        controller, watcher = self._controller, self._controller.watcher
        now = self._clock.monotonic()
        with watcher.lock:
            oldest = watcher.revocations.oldest_unix
        yield _gauge("leader", "1 for the replica that publishes.", controller.is_leader)
        yield _gauge("healthy", "1 if no administrator has to act.", not self.problems())
        yield _gauge("closed", "1 if all tokens are refused.", watcher.is_closed)
        entries = GaugeMetricFamily(f"{_PREFIX}entries", "What is refused.", labels=["kind"])
        if (revoked := controller.published) is not None:
            entries.add_metric(["secret"], len(revoked.secrets))
            entries.add_metric(["serviceAccount"], len(revoked.service_accounts))
            entries.add_metric(["token"], len(revoked.tokens))
            entries.add_metric(["namespace"], len(revoked.namespaces))
        yield entries
        if oldest is not None:
            age = round(self._clock.unix() - oldest)
            yield _gauge("oldest_entry_seconds", "Age of the oldest entry.", age)
        heard = GaugeMetricFamily(
            f"{_PREFIX}heard_seconds", "Time since a watch got an event.",
            labels=["kind", "namespace"],
        )  # fmt: skip
        for informer in watcher.informers:
            if (silent := informer.silent_seconds()) is not None:
                heard.add_metric(
                    [informer.resource.plural, informer.namespace or ""], round(silent)
                )
        yield heard
        yield _gauge(
            "namespaces_followed", "Watched identity namespaces.", len(watcher.watched_namespaces)
        )
        yield _gauge(
            "namespaces_not_followed", "Identity namespaces that cannot be watched.",
            len(watcher.unwatched_namespaces),
        )  # fmt: skip
        if controller.published_at is not None:
            age = round(now - controller.published_at)
            yield _gauge("published_seconds", "Time since the last published list.", age)
        if controller.keys_at is not None:
            age = round(now - controller.keys_at)
            yield _gauge("keys_seconds", "Time since the signing keys changed.", age)
        yield counter("watch_publish_errors", "Failed publications.", controller.errors)

    def _ready(self) -> tuple[int, str]:
        watcher = self._controller.watcher
        if watcher.is_closed:
            return 503, "the API server has sent no events lately\n"
        if not watcher.is_settled:
            return 503, "not everything has been listed yet\n"
        if self._controller.last_error:
            return 503, f"{self._controller.last_error}\n"
        return 200, "ready\n"

    def _status(self) -> tuple[int, str]:
        problems = self.problems()
        controller = self._controller
        holder = "" if controller.lease is None else controller.lease.holder
        document = {"leader": controller.is_leader, "holder": holder, "problems": problems}
        return 503 if problems else 200, json.dumps(document, indent=2) + "\n"


_PREFIX = f"{METRIC_PREFIX}watch_"


def _gauge(name: str, text: str, value: float) -> Metric:
    return gauge(f"watch_{name}", text, value)
