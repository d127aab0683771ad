"""docs/reference/metrics.md, from the collectors themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tools.bootstrap import ROOT
from tools.reference.markdown import code, table
from tools.reference.rbac import example_engine

from daypass._core.clock import SYSTEM_CLOCK
from daypass.agent.daemon import metrics
from daypass.agent.file_renewer import RenewerStatus
from daypass.cli.gate.watch import cluster_controller
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.authorizer.service import ReloadingCertificate, Service
from daypass.gate.watch.controller import Leader, WatchStatus
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.rules.published import Denials, Published, Shard

CONNECTION = ConnectionConfig(server="https://localhost", namespace="default", origin="here")


_SCRAPES = ROOT / "tests" / "operation" / "scrapes"
_SCRAPED = ("door", "gate-one-machine")
_ENVOYS = {
    "envoy_http_downstream_rq_total": "Requests.",
    "envoy_http_downstream_rq_xx": "Responses, by the first digit of their code.",
    "envoy_http_downstream_rq_time": "Milliseconds from a request to the end of its response.",
    "envoy_http_downstream_rq_active": "Requests in progress.",
    "envoy_http_downstream_rq_timeout": "Requests that did not arrive in time (408).",
    "envoy_http_downstream_rq_header_timeout": "Requests whose headers did not arrive in time.",
    "envoy_http_downstream_rq_rx_reset": "Requests that clients have broken off.",
    "envoy_http_downstream_cx_total": "Connections.",
    "envoy_http_downstream_cx_active": "Open connections.",
    "envoy_http_downstream_cx_protocol_error": (
        "Connections with a request that is no valid HTTP (400), or has too large headers (431)."
    ),
    "envoy_http_rbac_policy_allowed": (
        "The door: refused requests, by [reason](messages.md#the-door). "
        "The gate: accepted requests, with the policy `daypass-accepted`."
    ),
    "envoy_http_rbac_policy_denied": (
        "The door: refusals of what would pass otherwise, `too-many-requests` and `too-large`. "
        "The gate: refused requests, by [reason](messages.md#the-gate) after `daypass-`."
    ),
    "envoy_http_ext_authz_ok": "check: review: requests that the authorizer has accepted.",
    "envoy_http_ext_authz_denied": "Those that it has refused.",
    "envoy_http_ext_authz_error": "Those about which it did not answer, which are refused.",
    "envoy_http_local_rate_limit_rate_limited": (
        "Requests beyond a rate: of one source, or of all together."
    ),
    "envoy_http_local_rate_limit_enforced": (
        "Those that were refused at once (429), and not only once their body has arrived."
    ),
    "envoy_connection_limit_limited_connections": "Connections beyond the limit, which are closed.",
    "envoy_listener_ssl_connection_error": "TLS handshakes that have failed.",
    "envoy_listener_ssl_certificate_expiration_unix_time_seconds": (
        "When a certificate that is shown to clients expires, by its name: of the domain."
    ),
    "envoy_cluster_ssl_certificate_expiration_unix_time_seconds": (
        "When the authority expires that verifies the API server."
    ),
    "envoy_cluster_ssl_connection_error": "TLS handshakes with the upstream that have failed.",
    "envoy_cluster_ssl_fail_verify_error": "Those whose certificate no known authority has signed.",
    "envoy_cluster_ssl_fail_verify_san": "Those whose certificate is for another name.",
    "envoy_cluster_upstream_rq": "Responses, by their code: what became of the exchanges.",
    "envoy_cluster_upstream_rq_active": "Requests in progress.",
    "envoy_cluster_upstream_rq_time": "Milliseconds until the response.",
    "envoy_cluster_upstream_rq_timeout": "Requests without a response in time (504).",
    "envoy_cluster_upstream_rq_rx_reset": "Requests that the upstream has broken off.",
    "envoy_cluster_upstream_rq_pending_overflow": "Requests beyond the limit of those that wait.",
    "envoy_cluster_upstream_cx_active": "Open connections.",
    "envoy_cluster_upstream_cx_connect_fail": "Connections that have failed.",
    "envoy_cluster_upstream_cx_connect_timeout": "Those of them that took too long.",
    "envoy_cluster_upstream_cx_overflow": "Times that the limit of connections was reached.",
    "envoy_cluster_membership_total": "Addresses of the upstream.",
    "envoy_cluster_membership_healthy": (
        "Healthy ones; in a cluster, by the door's own checks of the API server."
    ),
    "envoy_cluster_membership_degraded": "Degraded ones; always 0.",
    "envoy_overload_envoy_resource_monitors_fixed_heap_pressure": (
        "Used memory, in percent of the limit; from 95 on, requests are refused."
    ),
    "envoy_overload_envoy_resource_monitors_global_downstream_max_connections_pressure": (
        "Open connections, in percent of the limit."
    ),
    "envoy_server_live": "1 while Envoy takes requests.",
    "envoy_server_memory_allocated": "Bytes of memory.",
    "envoy_server_uptime": "Seconds since the start.",
}


def envoy() -> str:
    """Return the series of the Envoy of door and gate, as they were scraped."""
    lines = [
        line for name in _SCRAPED for line in (_SCRAPES / f"{name}.txt").read_text().splitlines()
    ]
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
    if types.keys() != _ENVOYS.keys():
        raise ValueError(f"meanings of series: {sorted(types.keys() ^ _ENVOYS.keys())}")
    rows = []
    for name, meaning in _ENVOYS.items():
        samples = [line for line in lines if line.startswith((f"{name}{{", f"{name}_bucket{{"))]
        found = (label for line in samples for label in re.findall(r'envoy_(\w+)="', line))
        labels = ", ".join(map(code, sorted(dict.fromkeys(found))))
        rows.append((code(name), types[name], labels, meaning))
    return table(("series", "type", "labels, each with `envoy_` in front", "meaning"), rows)


def gate_watch() -> str:
    """Return what `daypass gate watch` reports."""
    controller = cluster_controller(
        Cluster(CONNECTION), example_engine().config, SYSTEM_CLOCK, print
    )
    # As if it had, so that there are all metrics.
    controller.leader = Leader(
        term=1, published=Published(shards=(Shard(closes_unix=1),), denials=Denials())
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
    service.certificate = cast(ReloadingCertificate, SimpleNamespace(expires_unix=0.0))
    return _program(service.collect())


def agent() -> str:
    """Return what `daypass agent` reports."""
    status = RenewerStatus(
        path="", is_good=True, left_seconds=0, renewals=0, failures=0, hook_failures=0
    )
    return _program(text_string_to_metric_families(metrics([status])))


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
