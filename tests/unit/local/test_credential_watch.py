"""What `daypass up` publishes on one machine, and what it reports, without Envoy and API server."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, cast

import pytest

from daypass.gate.watch.schedule import Observation, ObservedNamespace
from daypass.kube.connection import ConnectionConfig
from daypass.local import gate_services
from daypass.local.envoy import EnvoyInstance
from daypass.local.gate_services import (
    CredentialWatch,
    LocalAuthorizer,
    ProblemLog,
)
from daypass.local.stack import stack_config
from daypass.rules.published import LOCAL_SHARDS, Presence, Published, shard_of
from support.messages import check
from support.publishing import CREDENTIAL, pairs
from support.rendered import config_of
from support.timing import FakeClock
from support.tokens import SECRET_UID

CONFIG = config_of(stack_config())


class Receiver:
    """The authorizer of a machine, or its Envoy: `published` is what they were given last."""

    def __init__(self) -> None:
        self.published = Published.closed(LOCAL_SHARDS)

    def take_published(self, published: Published) -> None:
        self.published = published

    def publish(self, published: Published) -> None:
        self.published = published


class Machine:
    """A watch whose API server is `uids` and `listed`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.uids: Iterable[str] = ()
        self.listed_at: float | None = None
        self.last_error = ""
        self.lines: list[str] = []
        self.problems = ProblemLog(self.lines.append)
        self.authorizer, self.envoy = Receiver(), Receiver()
        self.changed = threading.Event()
        monkeypatch.setattr(gate_services, "CredentialObserver", lambda *_, **__: self)
        connection = ConnectionConfig(server="https://api.test", namespace="d", origin="a test")
        self.watch = CredentialWatch(
            CONFIG, connection, cast("LocalAuthorizer", self.authorizer),
            cast("Any", self.clock), shards=LOCAL_SHARDS,
        )  # fmt: skip

    def observation(self) -> Observation:
        if self.listed_at is None:
            return Observation()
        found = ObservedNamespace(credentials=pairs(self.uids), listed_at=self.listed_at)
        return Observation(
            namespaces={"team": found}, listed_at=self.listed_at, progress_at=self.listed_at,
            is_complete=True,
        )  # fmt: skip

    def list(self, *uids: str) -> None:
        """List, and publish."""
        self.uids, self.listed_at = uids, self.clock.monotonic()
        self.watch.publish()

    def start_envoy(self) -> None:
        self.watch.attach(cast("EnvoyInstance", self.envoy))

    def found(self, published: Published) -> Presence:
        return published.find(CREDENTIAL, self.clock.unix())

    def reported(self) -> str:
        """The next lines."""
        self.watch.report(self.problems)
        lines = "\n".join(self.lines)
        self.lines.clear()
        return lines


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_before_the_first_listing_everything_is_closed(machine: Machine) -> None:
    machine.watch.publish()
    assert machine.found(machine.watch.published) is Presence.CLOSED
    check(machine.reported(), reason="closed")
    machine.list(SECRET_UID)
    check(machine.reported(), reason="open")


def test_what_changes_while_envoy_starts_is_given_to_it(machine: Machine) -> None:
    machine.list(SECRET_UID)
    machine.envoy.published = machine.watch.published
    machine.list()
    assert machine.found(machine.envoy.published) is Presence.EXISTS
    machine.start_envoy()
    assert machine.found(machine.envoy.published) is Presence.ABSENT


def test_a_part_that_is_out_of_date_is_reported_as_such(machine: Machine) -> None:
    machine.list(SECRET_UID)
    number, closed = shard_of(SECRET_UID, LOCAL_SHARDS), Published.closed(LOCAL_SHARDS)
    machine.watch._put(machine.watch.published.updated(number, closed))
    check(machine.reported(), reason="partly-closed")


def test_problems_of_the_watch_are_reported_until_they_are_over(machine: Machine) -> None:
    machine.list(SECRET_UID)
    machine.watch.report(machine.problems)
    machine.last_error = "cannot list secrets in team"
    check(machine.reported(), machine.last_error, reason="trouble")
    machine.watch.report(machine.problems)
    assert machine.lines == []
    machine.last_error = ""
    check(machine.reported(), reason="over")
