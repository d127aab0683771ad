"""What really breaks in a run raises its alert, with minutes in the rules as seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from daypass.render.monitoring import alerts_text
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.operation import Operation, repeated, running_operation
from support.prometheus import Prometheus, running_prometheus
from support.watching import prepare, watched_config

CLOSE_AFTER_SECONDS = 45
BEFORE_SECONDS = 20
"""Of usual operation."""


def hurried(text: str) -> str:
    """The rules with seconds in place of minutes, and a minute in place of a day."""
    return re.sub(r"\b(\d+)m\b", r"\1s", text.replace("[1d]", "[60s]"))


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, watched_config(closeAfter=f"{CLOSE_AFTER_SECONDS}s"))


@pytest.fixture(scope="module")
def operation(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operation]:
    folder = tmp_path_factory.mktemp("operation")
    with running_operation(folder, plane, closeAfter=f"{CLOSE_AFTER_SECONDS}s") as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(
    operation: Operation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has seen usual operation."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "alerts.yaml").write_text(hurried(alerts_text()))
    with running_prometheus(folder, *operation.targets, rules=folder / "alerts.yaml") as running:
        with repeated(lambda: use(operation), pause=lambda: 0.5):
            running.wait_for_targets()
            eventually(
                "it has seen usual operation",
                lambda: running.query(f"count_over_time(up[1m]) >= {BEFORE_SECONDS}"),
            )
            assert fired(running) == set()
        yield running


def use(operation: Operation) -> None:
    """An exchange, a refused one, a call that passes and one that does not."""
    operation.exchange()
    operation.exchange("/nothing")
    operation.call(operation.short_lived())
    operation.call(None)


def fired(prometheus: Prometheus) -> set[str]:
    found = prometheus.query('ALERTS{alertstate="firing"}')
    return {each["metric"]["alertname"].removeprefix("Daypass") for each in found}


def raises(prometheus: Prometheus, *alerts: str) -> None:
    eventually(f"{alerts} fire", lambda: {*alerts} <= fired(prometheus))


def test_a_flood_of_requests_raises_the_alerts_on_what_is_unusual(
    operation: Operation, prometheus: Prometheus
) -> None:
    floods: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: operation.exchange("/nothing"), "RefusalsRising"),
        (operation.exchange, "TokenRequestsHigh"),
    )
    for flood, alert in floods:
        with repeated(flood, pause=lambda: 0.03):
            raises(prometheus, alert)


def test_tokens_for_another_audience_alone_raise_that_nothing_passes(
    operation: Operation, prometheus: Prometheus
) -> None:
    token = operation.plane.make_token(operation.identity, audiences=["another"])
    with repeated(lambda: operation.call(token)):
        raises(prometheus, "GateRefusesEverything")


def test_an_api_server_that_hangs_raises_that_the_door_cannot_reach_it(
    operation: Operation, prometheus: Prometheus
) -> None:
    with (
        operation.plane.child("kube-apiserver").suspended(),
        repeated(operation.exchange),
    ):
        raises(prometheus, "ApiServerUnreachable")


def test_a_watch_that_ends_raises_its_alert_and_then_that_the_gate_is_closed(
    operation: Operation, prometheus: Prometheus
) -> None:
    operation.watch.kill()
    raises(prometheus, "WatchStale", "TargetDown")
    raises(prometheus, "GateClosed")
