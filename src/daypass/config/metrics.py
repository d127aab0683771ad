"""Who may read metrics, and which objects a monitoring system gets."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from daypass.config.errors import fault
from daypass.config.opens import Added, Harmless
from daypass.config.pods import EmptyOrLabelValue, OwnLabelName
from daypass.config.types import AS_DICT, READ_ONLY, Label, Section, unique


class Metrics(Section):
    """Metrics for Prometheus: who may read them, and the objects of the Prometheus Operator and
    Grafana. Default: nobody, and none."""

    prometheus_namespaces: Added[Annotated[tuple[Label, ...], AfterValidator(unique)]] = Field(
        default_factory=tuple, max_length=20, examples=[["monitoring"]]
    )
    """Namespaces whose Pods may reach the ports with metrics: of the door (9002), of the watch
    (9004) and of the authorizer (9003)."""

    pod_monitor: Harmless[bool] = False
    """Whether there are PodMonitors for the door, the watch, the authorizer, and the gateways of
    gates."""

    service_monitor: Harmless[bool] = False
    """Whether there are ServiceMonitors for the same, with headless Services."""

    labels: Harmless[Annotated[Mapping[OwnLabelName, EmptyOrLabelValue], READ_ONLY, AS_DICT]] = (
        Field(default_factory=dict, max_length=20, examples=[{"release": "prometheus"}])
    )
    """Labels of these objects, by which a Prometheus selects them."""

    alerts: Harmless[bool] = False
    """Whether there is a PrometheusRule with alerts."""

    dashboard: Harmless[bool] = False
    """Whether there is a ConfigMap with a dashboard, which Grafana's sidecar finds by the label
    grafana_dashboard."""

    @model_validator(mode="after")
    def _monitors_reach_the_ports(self) -> "Metrics":
        if (self.pod_monitor or self.service_monitor) and not self.is_served:
            raise fault(
                "no Pod may reach the ports with metrics",
                "add prometheusNamespaces: [NAMESPACE], with the namespace of Prometheus",
            )
        return self

    @property
    def is_served(self) -> bool:
        """Whether anyone may reach the ports with metrics."""
        return bool(self.prometheus_namespaces)
