"""What the Prometheus Operator gets: which Pods it scrapes, and what it keeps of gateways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.monitoring import monitoring_objects
from support.manifest_cases import CASES, FRONTS
from support.rendered import config_of

HOME = "daypass"


def monitored(text: str, **keys: Any) -> Config:
    return config_of(f"{text}metrics: {{prometheusNamespaces: [monitoring], {_flow(keys)}}}\n")


def _flow(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items())


def of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def names(objects: Iterable[Object]) -> set[str]:
    return {each["metadata"]["name"] for each in objects}


def test_each_part_that_is_rendered_has_monitors_and_nothing_else_has() -> None:
    objects = CASES["metrics"].objects()
    own = {"daypass-door", "daypass-gate", "daypass-gate-watch"}
    # Two gates are at listeners of one Gateway.
    gateways = {f"daypass-gateway-{gate}" for gate in ("ekf", "models", "serving")}
    assert names(of_kind(objects, "PodMonitor")) == own | gateways
    config = monitored(FRONTS, podMonitor=True)
    assert names(monitoring_objects(config)) == {"daypass-door"}


def test_a_monitor_selects_the_pods_and_names_a_port_that_they_have() -> None:
    objects = CASES["metrics"].objects()
    deployments = {each["metadata"]["name"]: each for each in of_kind(objects, "Deployment")}
    for monitor in of_kind(objects, "PodMonitor"):
        spec = monitor["spec"]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        deployment = deployments.get(monitor["metadata"]["name"])
        if deployment is None:
            continue
        template = deployment["spec"]["template"]
        assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert spec["namespaceSelector"]["matchNames"] == [HOME]
        ports = [each["name"] for each in template["spec"]["containers"][0]["ports"]]
        assert [each["port"] in ports for each in spec["podMetricsEndpoints"]] == [True]
