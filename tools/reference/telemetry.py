"""docs/reference/metrics-and-events.md, from the collectors and lists of events themselves."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tools.reference.markdown import code, document, documented, table

from daypass._core.clock import SYSTEM_CLOCK
from daypass.agent import health
from daypass.agent.file_renewer import RenewerStatus
from daypass.agent.log import AgentEvent
from daypass.config import Gate, parse
from daypass.gate.authorizer.audit_log import EVENTS_PER_SECOND, AuditEvent
from daypass.gate.authorizer.service import ReviewSettings, Service
from daypass.gate.revocation.controller import WatchEvent, revocation_controller
from daypass.gate.revocation.controller_status import ControllerStatus
from daypass.gate.revocation.revocation_list import ObjectKind
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig

INTRO = """\
What to monitor: the metrics (Prometheus) and the log events (lines of JSON) of the programs that
keep running. No metric and no event contains a token."""

CONFIG = b"""\
version: 1
domains: {kubeflow: {host: kubeflow.example.com, front: istio, tls: outside}}
"""

WATCH = """## `daypass gate watch`

`--listen` serves `/healthz` (it runs), `/readyz` (it has listed everything and receives events),
`/status` (503 with what an administrator has to do) and `/metrics`. Alert on
`daypass_gate_watch_healthy == 0`, and on `sum(daypass_gate_watch_leader) == 0`."""

SERVE = f"""## `daypass gate serve`

`--status` serves `/healthz`, `/readyz` (it can reach the API server, and has a list of revocations)
and `/metrics`. Events go to stdout, at most {EVENTS_PER_SECOND} a second; `daypass up` writes them
to `gate-audit.log` next to Envoy's log. Most have `why`: [the reason](messages.md#the-gate)."""

AGENT = """## `daypass agent`

`listen` of its config serves `/healthz`, `/readyz` (every file has a valid token) and `/metrics`.
Events go to stderr, as text or (`--log json`) as JSON with `level` (info, warning or error) and
`message`."""


def page() -> str:
    """Return the page."""
    config = parse(CONFIG, name="daypass.yaml", folder=Path())
    gate = Gate(audience="gate.example.com")
    connection = ConnectionConfig(server="https://localhost", namespace="default", origin="here")
    service = Service(
        ReviewSettings.of(config, gate, issuer=""), connection, SYSTEM_CLOCK, print,
        needs_list=True,
    )  # fmt: skip
    controller = revocation_controller(Cluster(connection), config, gate, SYSTEM_CLOCK, print)
    # As if all of it had happened once, so that there are all metrics.
    service.metrics.revoked_at = service.authorizer.heard_at = 0.0
    controller.published_at = controller.keys_at = 0.0
    controller.watcher.revocations.gone(ObjectKind.SECRET, "uid", "team", 0.0)
    status = RenewerStatus(
        path="", is_good=True, left_seconds=0, renewals=0, failures=0, hook_failures=0
    )
    agent = text_string_to_metric_families(health.metrics([status]))
    return document(
        "Metrics and events",
        INTRO,
        *_program(WATCH, ControllerStatus(controller, SYSTEM_CLOCK).collect(), WatchEvent),
        *_program(SERVE, service.collect(), AuditEvent),
        *_program(AGENT, agent, AgentEvent),
    )


def _program(text: str, metrics: Iterable[Metric], events: type[Enum]) -> tuple[str, str, str]:
    """Return what a program reports: its text, its metrics and its events."""
    rows = [
        (
            code(_name(metric)),
            metric.type,
            ", ".join(map(code, _labels(metric))),
            metric.documentation,
        )
        for metric in metrics
    ]
    meaning = documented(events)
    return (
        text,
        table(("metric", "type", "labels", "meaning"), rows),
        table(("event", "meaning"), ((_event(each), meaning[each.name]) for each in events)),
    )


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _labels(metric: Metric) -> list[str]:
    names = [*getattr(metric, "_labelnames", ()), *(n for s in metric.samples for n in s.labels)]
    return [name for name in dict.fromkeys(names) if name != "le"]


def _event(event: Enum) -> str:
    """Return its name and, if it has one, its level."""
    name, *level = event.value if isinstance(event.value, tuple) else (event.value,)
    return ", ".join((code(name), *level))
