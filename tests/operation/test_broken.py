"""An alert fires when door or gate break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass.render.monitoring.alerts_and_dashboard import alerts_text
from support import broken
from support.broken import Machine
from support.controlplane import ControlPlane
from support.deadline import eventually

EXPRESSIONS = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load(alerts_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}

SetUp = Callable[[Path, ControlPlane], AbstractContextManager[Machine]]
CASES: dict[str, tuple[SetUp, str]] = {
    "a slow API server": (broken.slow_api_server, "DaypassApiServerSlow"),
    "a rotated key": (broken.rotated_key, "DaypassGateRefusesEverything"),
    "a certificate about to expire": (broken.expiring_certificate, "DaypassCertificateExpires"),
}  # fmt: skip


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One whose keys may change."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires(case: str, plane: ControlPlane, tmp_path: Path) -> None:
    set_up, alert = CASES[case]
    with set_up(tmp_path, plane) as machine:

        def fires() -> list[dict[str, Any]]:
            # What the last five minutes must show, fifteen seconds may.
            return machine.prometheus.query(EXPRESSIONS[alert].replace("[5m]", "[15s]"))

        assert fires() == []
        machine.break_it()
        eventually(f"{alert} fires", fires)
