"""Every query of the dashboard and of the alerts has data in a real Prometheus."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass.render.engines.istio import IstioEngine
from daypass.render.monitoring import alerts_text, dashboard_text
from operation.prometheus import (
    Prometheus,
    running_prometheus,
    served_texts,
)
from support.deadline import eventually

Json = dict[str, Any]
DASHBOARD: Json = json.loads(dashboard_text())
PANELS = {
    f"{panel['title']} {panel['id']}": panel
    for panel in DASHBOARD["panels"]
    if panel["type"] != "row"
}
VARIABLES = {"__rate_interval": "10s", "namespace": ".*", "gate": ".*"}
"""`.*` is the value of All."""
JOBS = {
    "daypass-door": ["door", "gate-one-machine"],
    "daypass-gate": ["authorizer"],
    "daypass-gate-watch": ["watch"],
    "daypass-agent": ["agent"],
    "daypass-gateway-istio": ["istio-gateway"],
    "daypass-gateway-envoy-gateway": ["envoy-gateway"],
    "daypass-gateway-bare": ["bare"],
}
"""What scrapes/ has, which test_scrapes.py compares with each part, and an Envoy without a gate."""
BARE = "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"
SCRAPED_FOR_SECONDS = 12


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has scraped what was recorded for a while."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "alerts.yaml").write_text(alerts_text())
    files = Path(__file__).parent.glob("scrapes/*.txt")
    texts = {"bare": BARE, **{file.stem: file.read_text() for file in files}}
    with served_texts(texts) as address:
        rules, relabelings = folder / "alerts.yaml", IstioEngine.metrics.relabelings
        with running_prometheus(
            folder, address, JOBS, rules=rules, relabelings={"daypass-gateway-istio": relabelings}
        ) as running:
            running.wait_for_targets()
            eventually(
                "it has scraped for a while",
                lambda: running.query(f"count_over_time(up[1m]) >= {SCRAPED_FOR_SECONDS}"),
            )
            yield running


def has_data(found: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(each["value"][1])) for each in found)


def with_values(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(f"${name}", value)
    return expression


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_has_data(prometheus: Prometheus, panel: Json) -> None:
    expressions = [with_values(target["expr"]) for target in panel["targets"]]
    assert not [each for each in expressions if not has_data(prometheus.query(each))]


def series_of(expression: str) -> list[str]:
    """The series that an expression selects, with their matchers."""
    # Not labels: of aggregations, and in the arguments of label_replace.
    others = r"\b(?:by|on|without|ignoring)\s*\([^)]*\)|,\s*\"[^\"]*\""
    named = r"\b(?:[\w:]*(?:daypass|envoy)_[\w:]+|up\b)(?:\{[^}]*\})?"
    return re.findall(rf"{named}|\{{[^}}]*\}}", re.sub(others, "", expression))


RULES = {
    rule.get("alert") or rule["record"]: rule["expr"]
    for group in yaml.safe_load(alerts_text())["groups"]
    for rule in group["rules"]
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_selects_series_that_exist(prometheus: Prometheus, name: str) -> None:
    selected = series_of(RULES[name])
    assert selected
    # What only a closed gate counts is not there in this run.
    selected = [each for each in selected if "daypass-unknown" not in each]
    assert not [each for each in selected if not prometheus.query(each)]


def test_each_variable_has_values(prometheus: Prometheus) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert found is not None
            values = prometheus.query(f"group by ({found[2]}) ({found[1]})")
            assert any(found[2] in each["metric"] for each in values)


def test_only_a_gateway_without_the_gate_lacks_its_series(prometheus: Prometheus) -> None:
    found = prometheus.query(RULES["DaypassGatewayWithoutGate"])
    assert [each["metric"]["job"] for each in found] == ["daypass-gateway-bare"]
