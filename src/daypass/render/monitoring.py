"""What Prometheus and Grafana get: PodMonitors, alerts and a dashboard.

Alerts and dashboard are data files next to this module. They select by series and labels, so they
are the same for every config.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import yaml

from daypass._core.kubernetes.labels import APP_NAME
from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Config
from daypass.render.engines import engines_of
from daypass.render.engines.engine import ProxyMetrics
from daypass.render.envoy.bootstrap import METRICS, PATH
from daypass.render.fronts import fronts_of
from daypass.render.names import DOOR, GATE, GATE_WATCH
from daypass.render.workloads import (
    AUTHORIZER_STATUS_PORT,
    DOOR_METRICS_PORT,
    STATUS,
    WATCHER_STATUS_PORT,
)

NAME = "daypass"


def alerts_text() -> str:
    """Return the alerts as a file of rules for Prometheus."""
    return _read("alerts.yaml")


def dashboard_text() -> str:
    """Return the dashboard's JSON, for Grafana's import and provisioning."""
    return _read("dashboard.json")


def monitoring_objects(config: Config) -> list[Object]:
    """Return the objects that the config wants."""
    return [*_pod_monitors(config), *_alerts_and_dashboard(config)]


def _alerts_and_dashboard(config: Config) -> list[Object]:
    """Return the PrometheusRule and the ConfigMap with the dashboard, if the config has them."""
    wanted, own_namespace = config.metrics, config.door.namespace
    objects = []
    if wanted.alerts:
        objects.append(
            new_object(
                "monitoring.coreos.com/v1",
                "PrometheusRule",
                NAME,
                own_namespace,
                labels=wanted.labels,
                spec=yaml.safe_load(alerts_text()),
            )
        )
    if wanted.dashboard:
        # Grafana's sidecar looks for the label.
        labels = {**wanted.labels, "grafana_dashboard": "1"}
        data = {f"{NAME}.json": dashboard_text()}
        name = f"{NAME}-dashboard"
        objects.append(new_object("v1", "ConfigMap", name, own_namespace, labels=labels, data=data))
    return objects


def _read(name: str) -> str:
    return files("daypass.render").joinpath(name).read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """Pods with metrics. `name`: of their monitors. `gate`: the one whose gateway they are."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    metrics: ProxyMetrics
    gate: str = ""

    def endpoint(self) -> Object:
        """Return it as a PodMonitor has it."""
        endpoint: Object = {"port": self.metrics.port, "path": self.metrics.path}
        if self.gate:
            endpoint["relabelings"] = [{"targetLabel": "gate", "replacement": self.gate}]
            endpoint["metricRelabelings"] = list(self.metrics.relabelings)
        return endpoint


def _pod_monitors(config: Config) -> list[Object]:
    """Return the PodMonitors, if the config wants them."""
    wanted = config.metrics
    if not wanted.pod_monitor:
        return []
    objects, unique = [], dict[str, Scraped]()
    for each in scraped(config):
        unique.setdefault(f"{each.namespace} {dict(each.labels)}", each)
    for each in unique.values():
        spec = {
            "namespaceSelector": {"matchNames": [each.namespace]},
            "selector": {"matchLabels": dict(each.labels)},
            "podMetricsEndpoints": [each.endpoint()],
        }
        objects.append(
            new_object(
                "monitoring.coreos.com/v1",
                "PodMonitor",
                each.name,
                config.door.namespace,
                labels=wanted.labels,
                spec=spec,
            )
        )
    return objects


def scraped(config: Config) -> Iterator[Scraped]:
    """Yield the Pods with metrics. Gates of several listeners have the same ones."""
    engines = engines_of(config)
    own = {
        DOOR: (METRICS, DOOR_METRICS_PORT, bool(fronts_of(config))),
        GATE: (
            STATUS,
            AUTHORIZER_STATUS_PORT,
            any(each.gate.asks_authorizer for each in engines),
        ),
        GATE_WATCH: (STATUS, WATCHER_STATUS_PORT, bool(engines)),
    }
    for name, (port, number, exists) in own.items():
        if exists:
            yield Scraped(
                name=name,
                namespace=config.door.namespace,
                labels={APP_NAME: name},
                metrics=ProxyMetrics(port=port, number=number, path=PATH),
            )
    for each in engines:
        yield Scraped(
            name=f"daypass-gateway-{each.name}",
            namespace=each.gate.gateway_namespace,
            labels=each.pods_labels,
            metrics=each.metrics,
            gate=each.name,
        )
