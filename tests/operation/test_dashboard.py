"""Every query of the dashboard and of the alerts has data from a real run, in a real Prometheus."""

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
from operation.parts import Operation, calls, exchanges, repeated, running_operation
from operation.prometheus import (
    Prometheus,
    Target,
    running_prometheus,
    served_texts,
)
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.watching import prepare, watched_config

Json = dict[str, Any]
DASHBOARD: Json = json.loads(dashboard_text())
PANELS = {
    f"{panel['title']} {panel['id']}": panel
    for panel in DASHBOARD["panels"]
    if panel["type"] != "row"
}
VARIABLES = {"__rate_interval": "10s", "namespace": ".*", "gate": ".*"}
"""`.*` is the value of All."""
RECORDED = {
    path.stem: path.read_text() for path in Path(__file__).parent.glob("scrapes/*-gateway.txt")
}
"""What was scraped from the Envoys of gateways."""
BARE = "bare"
RECORDED[BARE] = "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"
"""That of an Envoy without the gate."""
SCRAPED_FOR_SECONDS = 12


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, watched_config())


@pytest.fixture(scope="module")
def operation(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operation]:
    with running_operation(tmp_path_factory.mktemp("operation"), plane) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(
    operation: Operation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has scraped the run for a while, and what was recorded of gateways."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "alerts.yaml").write_text(alerts_text())
    with served_texts(RECORDED) as address:
        recorded = [
            Target(job=f"daypass-gateway-{name}", address=address, path=f"/{name}", labels={})
            for name in RECORDED
        ]
        with (
            running_prometheus(
                folder,
                *operation.targets,
                *recorded,
                rules=folder / "alerts.yaml",
                relabelings={"daypass-gateway-istio-gateway": IstioEngine.metrics.relabelings},
            ) as running,
            repeated(lambda: exchanges(operation), lambda: calls(operation)),
        ):
            running.wait_for_targets()
            operation.revoke_another()
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
    assert [each["metric"]["job"] for each in found] == [f"daypass-gateway-{BARE}"]
    assert len(RECORDED) == 3
