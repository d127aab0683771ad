"""The alerts and the dashboard: what is rendered, and what each alert and panel has."""

from __future__ import annotations

import tomllib
from typing import Any

import yaml
from tools.docs.pages import ROOT, all_pages

from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_folders
from daypass.render.monitoring import alerts_text
from support.manifest_cases import CASES
from support.rendered import config_of, only

PAGE = "docs/how-to/troubleshooting.md"
CONFIG = """\
version: 1
domains: {ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}}
"""


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(alerts_text())["groups"]
    return [rule for rule in group["rules"] if "alert" in rule]


def rendered(metrics: str) -> dict[str, dict[str, Any]]:
    """The objects of `monitoring`, by kind."""
    config = config_of(f"{CONFIG}metrics: {metrics}\n")
    objects = render_folders(config, ClusterFacts()).get("monitoring", [])
    return {each["kind"]: each for each in objects}


def test_alerts_are_a_prometheus_rule_that_prometheus_selects() -> None:
    rule = rendered("{alerts: true, labels: {release: prometheus}}")["PrometheusRule"]
    assert rule["metadata"]["namespace"] == "daypass"
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load(alerts_text())


def test_a_monitor_selects_the_pods_and_names_a_port_that_they_have() -> None:
    objects = CASES["metrics"].objects()
    for name in ("daypass-door", "daypass-gate", "daypass-gate-watch"):
        monitor = only(objects, "PodMonitor", name)["spec"]
        template = only(objects, "Deployment", name)["spec"]["template"]
        selected = monitor["selector"]["matchLabels"].items()
        assert selected <= template["metadata"]["labels"].items()
        assert monitor["namespaceSelector"]["matchNames"] == ["daypass"]
        ports = {each["name"] for each in template["spec"]["containers"][0]["ports"]}
        assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= ports


def test_each_alert_leads_to_its_own_section() -> None:
    documentation = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    base = documentation["Documentation"].replace("/tree/", "/blob/").removesuffix("docs") + PAGE
    (page,) = (each for each in all_pages() if str(each.path) == PAGE)
    links = [each["annotations"]["runbook_url"] for each in alerts()]
    assert {link.partition("#")[0] for link in links} == {base}
    sections = [link.partition("#")[2] for link in links]
    assert len({*sections}) == len(sections)
    assert not {*sections} - {*page.anchors}
    text = (ROOT / PAGE).read_text()
    assert not [each["alert"] for each in alerts() if f"`{each['alert']}`: " not in text]
