"""What `daypass up` reports of its revocation watch: loss and recovery."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.kube import informer
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.local import gate_services
from daypass.local.api_backend import ExternalApiServer
from daypass.local.gate_services import Revocations
from daypass.local.stack import stack_config
from support.deadline import eventually
from support.messages import check
from support.rendered import config_of
from support.watched_api import WatchedApi, cluster_of


class Behind(ExternalApiServer):
    """An API server that permits a watch."""

    def access(self) -> ConnectionConfig:
        return ConnectionConfig(server="https://api.test", namespace="default", origin="a test")


@dataclass
class Reported:
    revocations: Revocations
    lines: list[str]

    def becomes(self, count: int) -> str:
        def look() -> bool:
            self.revocations.report()
            return len(self.lines) >= count

        eventually(f"{count} reports", look)
        assert len(self.lines) == count
        return self.lines[-1]


def test_loss_and_recovery_of_the_revocation_watch_are_each_reported_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, lines = WatchedApi(), list[str]()

    def cluster(access: ConnectionConfig) -> Cluster:
        return cluster_of(api)

    monkeypatch.setattr(gate_services, "Cluster", cluster)
    monkeypatch.setattr(informer, "LONGEST_PAUSE_SECONDS", 0.1)
    made = Revocations(
        config_of(stack_config()), Behind(lambda: None), lambda _: None, SYSTEM_CLOCK, lines.append,
        longest_lifetime_seconds=3600, state=None, is_first_start=True, close_after_seconds=600,
    )  # fmt: skip
    reported = Reported(made, lines)
    made.first()
    made.start()
    try:
        api.fails = 0
        lost = reported.becomes(1)
        assert "https://api.test" in lost
        check(lost, reason="log")
        api.fails = None
        heard = reported.becomes(2)
        assert "https://api.test" not in heard
        check(heard, reason="log")
    finally:
        made.stop()
