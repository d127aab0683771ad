"""PodMonitors and ServiceMonitors of the Prometheus Operator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from daypass._core.kubernetes.labels import APP_NAME
from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Config
from daypass.render.engines import engines_of
from daypass.render.engines.engine import ProxyMetrics
from daypass.render.envoy.bootstrap import METRICS, PATH
from daypass.render.fronts import fronts_behind_door
from daypass.render.names import DOOR, GATE, GATE_WATCH
from daypass.render.workloads import (
    AUTHORIZER_STATUS_PORT,
    DOOR_METRICS_PORT,
    STATUS,
    WATCHER_STATUS_PORT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """Pods with metrics. `name`: of their monitors. `gate`: the one whose gateway they are."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    metrics: ProxyMetrics
    gate: str = ""

    def endpoint(self) -> Object:
        """Return it as both kinds of monitors have it."""
        endpoint: Object = {"port": self.metrics.port, "path": self.metrics.path}
        if self.gate:
            endpoint["relabelings"] = [{"targetLabel": "gate", "replacement": self.gate}]
            endpoint["metricRelabelings"] = list(self.metrics.relabelings)
        return endpoint


def monitor_objects(config: Config) -> list[Object]:
    """Return the monitors that the config wants."""
    wanted = config.metrics
    objects, unique = [], dict[str, Scraped]()
    for each in scraped(config):
        unique.setdefault(f"{each.namespace} {dict(each.labels)}", each)
    for each in unique.values():
        where = {"namespaceSelector": {"matchNames": [each.namespace]}}
        if wanted.pod_monitor:
            spec = {
                **where,
                "selector": {"matchLabels": dict(each.labels)},
                "podMetricsEndpoints": [each.endpoint()],
            }
            objects.append(_monitor("PodMonitor", each.name, config, spec))
        if wanted.service_monitor:
            service = f"{each.name}-{METRICS}"
            if len(service) > 63:  # a monitor's name may be longer
                service = f"{service[:46]}-{sha256(service.encode()).hexdigest()[:16]}"
            labels = {APP_NAME: service}
            port = {"name": each.metrics.port, "port": each.metrics.number}
            spec = {"clusterIP": "None", "selector": dict(each.labels), "ports": [port]}
            objects.append(
                new_object("v1", "Service", service, each.namespace, labels=labels, spec=spec)
            )
            selector = {"matchLabels": labels}
            spec = {**where, "selector": selector, "endpoints": [each.endpoint()]}
            objects.append(_monitor("ServiceMonitor", each.name, config, spec))
    return objects


def _monitor(kind: str, name: str, config: Config, spec: Object) -> Object:
    home, labels = config.door.namespace, config.metrics.labels
    return new_object("monitoring.coreos.com/v1", kind, name, home, labels=labels, spec=spec)


def scraped(config: Config) -> Iterator[Scraped]:
    """Yield the Pods with metrics. Gates of several listeners have the same ones."""
    engines = engines_of(config)
    own = {
        DOOR: (METRICS, DOOR_METRICS_PORT, bool(fronts_behind_door(config))),
        GATE: (STATUS, AUTHORIZER_STATUS_PORT, any(each.gate.is_reviewed for each in engines)),
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
