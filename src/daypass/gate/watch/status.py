"""Health and metrics of the watch of a cluster's gate."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prometheus_client.core import Metric

from daypass._core.clock import Clock
from daypass._core.status_server import Routes
from daypass.gate.metrics import counter, exposition, gauge
from daypass.gate.watch.controller import Controller
from daypass.gate.watch.observation import Observation


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
        return {
            "/healthz": lambda: (200, "alive\n"),
            "/readyz": self._ready,
            "/status": self._status,
            "/metrics": lambda: (200, exposition(self)),
        }

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by kind."""
        observation = self._controller.observer.observation()
        found = self._controller.problems()
        if observation.unwatched:
            found["namespaces"] = ", ".join(sorted(observation.unwatched))
        if observation.left_out:
            found["leftOut"] = ", ".join(sorted(observation.left_out))
        if self._is_closed(observation):
            found["closed"] = "no listing has succeeded for too long, or ever"
        return found

    def collect(self) -> Iterator[Metric]:
        """Return all metrics for Prometheus."""
        controller, observation = self._controller, self._controller.observer.observation()
        now = self._clock.monotonic()
        published = controller.published
        yield _gauge("leader", "1 for the replica that publishes.", controller.is_leader)
        yield _gauge("healthy", "1 if no administrator has to act.", not self.problems())
        yield _gauge("closed", "1 if all tokens are refused.", self._is_closed(observation))
        if published is not None:
            closes_unix = min(part.closes_unix for part in published.parts)
            closes = closes_unix - self._clock.unix()
            credentials = published.count
            yield _gauge("credentials", "Credentials in the published set.", credentials)
            yield _gauge("denials", "Published denials.", len(published.denials))
            yield _gauge("closes_seconds", "Time until the first part closes.", round(closes))
        watched = observation.namespaces.keys() - observation.unwatched.keys()
        yield _gauge("namespaces", "Watched identity namespaces.", len(watched))
        yield _gauge(
            "namespaces_unwatched", "Identity namespaces that cannot be listed.",
            len(observation.unwatched),
        )  # fmt: skip
        yield _gauge(
            "left_out", "Credentials beyond the limit of their namespace.",
            sum(observation.left_out.values()),
        )  # fmt: skip
        for name, text, at in (
            ("listed_seconds", "Age of the last listing of the cluster.", controller.listed_at),
            ("published_seconds", "Time since the set has changed.", controller.changed_at),
            ("keys_seconds", "Time since the signing keys changed.", controller.keys_at),
        ):
            if at is not None:
                yield _gauge(name, text, round(now - at))
        yield counter("watch_publish_errors", "Failed publications.", controller.errors)

    def _is_closed(self, observation: Observation) -> bool:
        listed_at = observation.listed_at
        limit = self._controller.close_after_seconds
        return listed_at is None or self._clock.monotonic() - listed_at >= limit

    def _ready(self) -> tuple[int, str]:
        observation = self._controller.observer.observation()
        if self._is_closed(observation):
            return 503, "nothing has been listed lately\n"
        if not observation.is_complete:
            return 503, "not everything has been listed yet\n"
        if self._controller.last_error:
            return 503, f"{self._controller.last_error}\n"
        return 200, "ready\n"

    def _status(self) -> tuple[int, str]:
        controller, problems = self._controller, self.problems()
        holder = "" if controller.lease is None else controller.lease.holder
        document = {"state": controller.state.value, "holder": holder, "problems": problems}
        return 503 if problems else 200, json.dumps(document, indent=2) + "\n"


def _gauge(name: str, text: str, value: float) -> Metric:
    return gauge(f"watch_{name}", text, value)
