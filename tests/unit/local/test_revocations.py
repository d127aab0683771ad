"""The revocation watch of `daypass up`: lists, the record, failures, and what it reports."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from daypass._core.clock import Clock
from daypass.gate.revocation.state_store import RecordError
from daypass.kube import informer
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.local import gate_services
from daypass.local.api_backend import ExternalApiServer
from daypass.local.gate_services import RECORD_LOST, STATE_FILE, Revocations
from daypass.local.stack import stack_config
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.testing.clock import MovableClock
from support.deadline import eventually
from support.messages import check, raises
from support.rendered import config_of
from support.timing import FakeClock
from support.watched_api import WatchedApi, cluster_of

CONFIG = config_of(stack_config())
LONGEST, CLOSE_AFTER = CONFIG.longest_lifetime_seconds, 600


class Behind(ExternalApiServer):
    """An API server that permits a watch."""

    def connection(self) -> ConnectionConfig:
        return ConnectionConfig(server="https://api.test", namespace="default", origin="a test")


class Running:
    """A watch with its record in `state`; `held` makes publications slow."""

    def __init__(
        self, api: WatchedApi, state: Path, clock: Any, *, is_first_start: bool = True
    ) -> None:
        self.api, self.clock = api, clock
        self.file = state / STATE_FILE
        self.lines: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self.revocations = Revocations(
            CONFIG, Behind(lambda: None), self.clock, self.lines.append,
            state=state, is_first_start=is_first_start,
            close_after_seconds=CLOSE_AFTER,
        )  # fmt: skip
        self.lists: list[RevocationSnapshot] = []

    def first(self) -> RevocationSnapshot:
        found = self.revocations.first()
        assert found is not None
        self.lists.append(found)
        return found

    def take(self, revoked: RevocationSnapshot) -> None:
        self.lists.append(revoked)
        self.held.wait(20)

    def eventually_is(self, **expected: Any) -> None:
        def matching() -> bool:
            return all(getattr(self.lists[-1], k) == v for k, v in expected.items())

        eventually(f"published: {expected}", matching)

    def reports(self, count: int) -> str:
        """Return the last of so many lines."""

        def look() -> bool:
            self.revocations.report()
            return len(self.lines) >= count

        eventually(f"{count} reports", look)
        assert len(self.lines) == count
        return self.lines[-1]

    def reports_with(self, words: str) -> None:
        def look() -> bool:
            self.revocations.report()
            return words in self.lines[-1]

        eventually(f"it reports: {words}", look)

    def is_recorded(self, uid: str) -> None:
        eventually("it is recorded", lambda: uid in self.file.read_text())


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> WatchedApi:
    """The API server of every watch. Watches restart soon: those of a fake one end at once."""
    api = WatchedApi()

    def cluster(access: ConnectionConfig) -> Cluster:
        return cluster_of(api)

    monkeypatch.setattr(gate_services, "Cluster", cluster)
    monkeypatch.setattr(informer, "LONGEST_PAUSE_SECONDS", 0.1)
    return api


Begin = Callable[..., Running]


@pytest.fixture
def begin(api: WatchedApi, tmp_path: Path) -> Iterator[Begin]:
    """Make a watch, which is stopped at the end."""
    made: list[Running] = []

    def begin(clock: Clock | None = None, **more: Any) -> Running:
        made.append(Running(api, tmp_path, clock or MovableClock(), **more))
        return made[-1]

    yield begin
    for each in made:
        each.revocations.stop()


@pytest.fixture
def running(api: WatchedApi, begin: Begin) -> Running:
    made = begin()
    api.put("secrets", "s-1")
    api.put("serviceaccounts", "a-1")
    first = made.first()
    assert (first.secrets, first.service_accounts, first.closed) == (set(), set(), False)
    made.revocations.start(made.take)
    return made


def delete_secret(api: WatchedApi) -> None:
    api.delete("secrets", "s-1")


def delete_account(api: WatchedApi) -> None:
    api.delete("serviceaccounts", "a-1")


def create_and_delete(api: WatchedApi) -> None:
    """Between two publications."""
    api.put("secrets", "s-2")
    api.delete("secrets", "s-2")


def set_deletion_timestamp(api: WatchedApi) -> None:
    api.put("secrets", "s-1", deletionTimestamp="2027-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("change", "published"),
    [
        (delete_secret, {"secrets": {"s-1"}}),
        (delete_account, {"service_accounts": {"a-1"}}),
        (create_and_delete, {"secrets": {"s-2"}}),
        (set_deletion_timestamp, {"secrets": {"s-1"}}),
    ],
)
def test_a_deletion_is_published(
    running: Running, change: Callable[[WatchedApi], None], published: dict[str, set[str]]
) -> None:
    change(running.api)
    running.eventually_is(**published, closed=False)


def test_an_object_being_deleted_at_start_is_on_the_first_list(
    api: WatchedApi, begin: Begin
) -> None:
    api.put("secrets", "s-1", deletionTimestamp="2027-01-01T00:00:00Z")
    assert begin().first().secrets == {"s-1"}


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_after_a_failure_the_watch_is_resumed_or_everything_listed_without_loss(
    running: Running, is_forgotten: bool
) -> None:
    api = running.api
    api.fails = 0
    assert "https://api.test" in running.reports(1)
    api.delete("secrets", "s-1")
    if is_forgotten:
        api.events.clear()
        api.forgotten = api.version
    api.fails = None
    running.eventually_is(secrets={"s-1"})
    assert api.lists("secrets") == (2 if is_forgotten else 1)


@pytest.mark.parametrize("breaking", [None, httpx2.ReadError, httpx2.RemoteProtocolError])
@pytest.mark.parametrize(("times", "lists"), [(1, 1), (1_000_000, 2)])
def test_a_watch_that_breaks_twice_at_one_point_relists_without_loss(
    running: Running, breaking: type[httpx2.TransportError] | None, times: int, lists: int
) -> None:
    api = running.api
    api.put("secrets", "s-2")
    api.put("secrets", "s-3")
    running.is_recorded("s-3")
    api.breaking = breaking
    api.breaks[api.version + 1] = times
    api.delete("secrets", "s-1")
    api.delete("secrets", "s-2")
    running.eventually_is(secrets={"s-1", "s-2"}, closed=False)
    api.delete("secrets", "s-3")
    running.eventually_is(secrets={"s-1", "s-2", "s-3"})
    assert api.lists("secrets") == lists


def test_the_gate_closes_without_events_and_opens_again(running: Running) -> None:
    running.api.fails = 0
    check(running.reports(1), reason="log")
    running.clock.move(CLOSE_AFTER - 60)
    running.revocations.report()
    running.clock.move(61)
    running.eventually_is(closed=True)
    assert "refuses every token" in running.reports(2)
    running.api.fails = None
    running.eventually_is(closed=False)
    assert "https://api.test" not in running.reports(4)
    check(running.lines[2], reason="log")


def test_a_list_that_cannot_be_recorded_is_published_and_not_renewed(running: Running) -> None:
    running.is_recorded("s-1")
    away = running.file.parent.with_name("away")
    running.file.parent.rename(away)
    running.api.delete("secrets", "s-1")
    running.eventually_is(secrets={"s-1"})
    until = running.lists[-1].closed_after_unix
    running.clock.move(CLOSE_AFTER / 2 + 1)
    check(running.reports(1), reason="log")
    running.api.put("secrets", "s-2")
    running.api.delete("secrets", "s-2")
    running.eventually_is(secrets={"s-1", "s-2"})
    assert running.lists[-1].closed_after_unix == until
    running.clock.move(CLOSE_AFTER / 2)
    running.reports_with("its list is out of date")
    away.rename(running.file.parent)
    running.reports_with("is open again")
    running.is_recorded("s-2")


def test_many_deletions_are_published_in_few_lists(running: Running) -> None:
    running.held.clear()
    running.api.put("secrets", "first")
    running.api.delete("secrets", "first")
    eventually("the first is being published", lambda: len(running.lists) > 1)
    names = {f"many-{number}" for number in range(2000)}
    for name in names:
        running.api.put("secrets", name)
        running.api.delete("secrets", name)
    running.held.set()
    running.eventually_is(secrets=names | {"first"})
    assert len(running.lists) < 400


def test_a_start_that_cannot_list_everything_forgets_no_deletion(
    running: Running, begin: Begin
) -> None:
    running.is_recorded("s-1")
    running.revocations.stop()
    running.api.delete("secrets", "s-1")
    running.api.events.clear()
    running.api.forbidden = {"configmaps"}
    closed = begin(is_first_start=False)
    assert closed.first().closed
    closed.revocations.stop()
    running.api.forbidden = set()
    assert begin(is_first_start=False).first().secrets == {"s-1"}


def test_without_its_record_older_tokens_are_refused_even_after_a_restart(begin: Begin) -> None:
    clock = FakeClock()
    one = begin(clock, is_first_start=False)
    began = int(clock.unix())
    assert one.lines == [RECORD_LOST]
    assert one.first().closed  # `iat` is in seconds: tokens of this second look like older ones
    assert not one.file.exists()
    clock.advance(1)
    opened = one.first()
    assert (opened.closed, opened.issued_after_unix) == (False, began + 1)
    one.revocations.stop()
    again = begin(clock, is_first_start=False)
    assert not again.lines
    assert again.first().issued_after_unix == began + 1
    again.revocations.stop()
    clock.advance(LONGEST + 120)
    later = begin(clock, is_first_start=False).first()
    assert began + 1 < later.issued_after_unix < clock.unix() - LONGEST


def test_at_a_first_start_no_token_is_refused_for_its_age(begin: Begin) -> None:
    made = begin()
    assert not made.lines
    assert made.first().issued_after_unix <= made.clock.unix() - LONGEST


@pytest.mark.parametrize(
    "record", [{}, {"format": 1}, {"format": 3}, []], ids=["empty", "1", "3", "list"]
)
def test_a_damaged_record_is_an_error(tmp_path: Path, begin: Begin, record: object) -> None:
    file = tmp_path / STATE_FILE
    file.touch(0o600)
    file.write_text(json.dumps(record))
    with raises(RecordError):
        begin()


def test_manual_denials_follow_the_config_map(running: Running) -> None:
    data = {"uid.u-1": "2999-01-01T00:00:00Z", "jti.j-1": "no time", "other": "x",
            "uid.u-2": "2001-01-01T00:00:00Z", "uid.": ""}  # fmt: skip
    namespace = config_of(stack_config()).door.namespace
    running.api.put("configmaps", "daypass-denied", namespace=namespace, data=data)
    running.eventually_is(secrets={"u-1"}, service_accounts={"u-1"}, tokens={"j-1"})
    running.api.delete("configmaps", "daypass-denied")
    running.eventually_is(secrets=set(), tokens=set())
