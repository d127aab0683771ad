"""docs/reference/metrics-and-events.md, from the collectors themselves."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tools.reference.markdown import code, table
from tools.reference.rbac import example_engine

from daypass._core.clock import SYSTEM_CLOCK
from daypass.agent import health
from daypass.agent.file_renewer import RenewerStatus
from daypass.cli.gate.watch import cluster_controller
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.authorizer.service import Service
from daypass.gate.watch.controller import Leader
from daypass.gate.watch.status import WatchStatus
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.rules.credentials import CredentialPart
from daypass.rules.denials import Denials
from daypass.rules.published import Published

CONNECTION = ConnectionConfig(server="https://localhost", namespace="default", origin="here")


def gate_watch() -> str:
    """Return what `daypass gate watch` reports."""
    controller = cluster_controller(
        Cluster(CONNECTION), example_engine().config, SYSTEM_CLOCK, print
    )
    # As if it had, so that there are all metrics.
    controller.leader = Leader(
        term=1, published=Published(parts=(CredentialPart(closes_unix=1),), denials=Denials())
    )
    if (keys := controller.publisher.keys) is not None:
        keys.fetched_at = 0.0
    return _program(WatchStatus(controller, SYSTEM_CLOCK).collect())


def gate_serve() -> str:
    """Return what `daypass gate serve` reports."""
    engine = example_engine()
    rules = engine.config.rules_of(engine.gate, "")
    gate = ServedGate(engine.name, engine.gate, rules, is_verified=True)
    service = Service(
        [gate],
        CONNECTION,
        SYSTEM_CLOCK,
        print,
        checks_credentials=True,
        verifier=None,
        close_after_seconds=engine.config.watch.close_after_seconds,
    )
    # As if it had happened.
    service.authorizer.tokens.heard_at = service.authorizer.published_at = 0.0
    return _program(service.collect())


def agent() -> str:
    """Return what `daypass agent` reports."""
    status = RenewerStatus(
        path="", is_good=True, left_seconds=0, renewals=0, failures=0, hook_failures=0
    )
    return _program(text_string_to_metric_families(health.metrics([status])))


def _program(metrics: Iterable[Metric]) -> str:
    """Return the metrics of a program."""
    rows = (
        (code(_name(it)), it.type, ", ".join(map(code, _labels(it))), it.documentation)
        for it in metrics
    )
    return table(("metric", "type", "labels", "meaning"), rows)


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _labels(metric: Metric) -> list[str]:
    names = [*getattr(metric, "_labelnames", ()), *(n for s in metric.samples for n in s.labels)]
    return [name for name in dict.fromkeys(names) if name != "le"]
