"""What the Prometheus Operator gets: which Pods it scrapes, and what it keeps of gateways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.engines.istio import IstioEngine
from daypass.render.monitoring import monitoring_objects
from daypass.rules.reasons import Reason
from support.manifest_cases import CASES, FRONTS
from support.rendered import config_of
from support.scrapes import SCRAPES

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


Series = Mapping[str, str]
"""Labels, the name among them."""


def relabeled(series: Series, rules: Iterable[Object]) -> Series | None:
    """What Prometheus makes of a series; None if it drops it."""
    labels = dict(series)
    for rule in rules:
        value = ";".join(labels.get(each, "") for each in rule.get("sourceLabels", ()))
        found = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action") == "keep":
            if found is None:
                return None
        elif found is not None:
            template = re.sub(r"\$(\d)", r"\\\1", rule["replacement"])
            labels[rule["targetLabel"]] = found.expand(template)
    return labels


def scraped(name: str) -> list[Series]:
    text = (SCRAPES / f"{name}.txt").read_text()
    return [
        {"__name__": sample.name.removesuffix("_total"), **sample.labels}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def test_what_an_istio_gateway_refuses_has_the_series_and_labels_of_one_machine() -> None:
    rules = IstioEngine.metrics.relabelings
    found = [relabeled(each, rules) for each in scraped("istio-gateway")]
    assert {
        "__name__": "envoy_http_rbac_policy_denied",
        "envoy_http_conn_manager_prefix": "outbound_0_0_0_0_8443_",
        "envoy_rbac_http_prefix": "gate",
        "envoy_rbac_policy_name": "daypass-no-token",
    } in found
    assert None not in found
    assert len({tuple(sorted(each.items())) for each in found if each}) == len(found)
    assert relabeled({"__name__": "istio_requests_total"}, rules) is None


def test_every_reason_survives_the_way_through_istios_names() -> None:
    for reason in Reason:
        name = f"envoy_http_x__rbac_gate_policy_daypass_{reason.replace('-', '_')}_denied"
        found = relabeled({"__name__": name}, IstioEngine.metrics.relabelings)
        assert found is not None
        assert found["envoy_rbac_policy_name"] == f"daypass-{reason}"
