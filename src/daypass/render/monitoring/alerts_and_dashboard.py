"""The alerts for Prometheus and the dashboard for Grafana: data files next to this module.

They select by series and labels, so they are the same for every config.
"""

from importlib.resources import files

import yaml

from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Config

NAME = "daypass"


def alerts_text() -> str:
    """Return the alerts as a file of rules for Prometheus."""
    return _read("alerts.yaml")


def dashboard_text() -> str:
    """Return the dashboard's JSON, for Grafana's import and provisioning."""
    return _read("dashboard.json")


def alert_and_dashboard_objects(config: Config) -> list[Object]:
    """Return the PrometheusRule and the ConfigMap with the dashboard, if the config has them."""
    wanted, home = config.metrics, config.door.namespace
    objects = []
    if wanted.alerts:
        objects.append(
            new_object(
                "monitoring.coreos.com/v1",
                "PrometheusRule",
                NAME,
                home,
                labels=wanted.labels,
                spec=yaml.safe_load(alerts_text()),
            )
        )
    if wanted.dashboard:
        # Grafana's sidecar looks for the label.
        labels = {**wanted.labels, "grafana_dashboard": "1"}
        data = {f"{NAME}.json": dashboard_text()}
        name = f"{NAME}-dashboard"
        objects.append(new_object("v1", "ConfigMap", name, home, labels=labels, data=data))
    return objects


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text()
