"""The alerts and the dashboard: what is rendered, and what each alert and panel has."""

from __future__ import annotations

import json
import tomllib
from itertools import combinations
from typing import Any

import yaml
from tools.docs.pages import ROOT, all_pages

from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_parts
from daypass.render.monitoring import alerts_text, dashboard_text
from support.rendered import config_of

PAGE = "docs/how-to/troubleshooting.md"
CONFIG = """\
version: 1
domains: {ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}}
"""
DASHBOARD = json.loads(dashboard_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(alerts_text())["groups"]
    return [rule for rule in group["rules"] if "alert" in rule]


def rendered(metrics: str) -> dict[str, dict[str, Any]]:
    """The objects of `monitoring`, by kind."""
    config = config_of(f"{CONFIG}metrics: {metrics}\n")
    objects = render_parts(config, ClusterFacts()).get("monitoring", [])
    return {each["kind"]: each for each in objects}


def test_nothing_is_rendered_unless_the_config_asks_for_it() -> None:
    assert rendered("{labels: {release: prometheus}}") == {}


def test_alerts_are_a_prometheus_rule_that_prometheus_selects() -> None:
    rule = rendered("{alerts: true, labels: {release: prometheus}}")["PrometheusRule"]
    assert rule["metadata"]["namespace"] == "daypass"
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load(alerts_text())


def test_the_dashboard_is_a_config_map_that_grafana_finds() -> None:
    found = rendered("{dashboard: true}")
    assert [*found] == ["ConfigMap"]
    assert found["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["ConfigMap"]["data"] == {"daypass.json": dashboard_text()}


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


def test_each_alert_says_how_urgent_it_is_and_what_it_means() -> None:
    for each in alerts():
        assert each["labels"]["severity"] in ("warning", "critical")
        assert {*each["annotations"]} == {"summary", "description", "runbook_url"}


def test_each_panel_says_what_it_shows_and_in_which_unit() -> None:
    for panel in PANELS:
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len({*ids}) == len(ids)


def test_no_panel_covers_another_one() -> None:
    for one, other in combinations(DASHBOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (one["title"], other["title"])
        assert a["x"] + a["w"] <= 24
