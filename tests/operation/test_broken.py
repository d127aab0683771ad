"""What an operator sees of door and gate that break: an alert, and findings of `daypass status`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass.cli import main
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
CASES: dict[str, tuple[SetUp, str, str]] = {
    "a slow API server": (broken.slow_api_server, "DaypassApiServerSlow", "latency"),
    "a rotated key": (broken.rotated_key, "DaypassGateRefusesEverything", "refusals"),
    "a certificate about to expire": (
        broken.expiring_certificate, "DaypassCertificateExpires", "certificate",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One whose keys may change."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_and_status_names_the_cause(
    case: str, plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up, alert, check = CASES[case]
    with set_up(tmp_path, plane) as machine:

        def fires() -> list[dict[str, Any]]:
            # What the last five minutes must show, fifteen seconds may.
            return machine.prometheus.query(EXPRESSIONS[alert].replace("[5m]", "[15s]"))

        def failures(*words: str) -> set[str]:
            capsys.readouterr()
            code = main(["status", "-o", "json", *machine.status, *words])
            findings = json.loads(capsys.readouterr()[0])["findings"]
            failed = {each["check"] for each in findings if each["level"] == "failure"}
            assert (code == 3) is bool(failed)
            return failed

        assert fires() == []
        assert check not in failures()
        machine.break_it()
        eventually(f"{alert} fires", fires)
        assert check in failures()
        assert check in failures("--prometheus", machine.prometheus.url)
