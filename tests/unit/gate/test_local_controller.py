"""The revocation watch on one machine: lists, watches and failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from daypass.gate.revocation.local_controller import LocalRevocationController
from daypass.gate.revocation.publishers import RecordError
from daypass.gate.revocation.watcher import Scope
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.testing.clock import MovableClock
from support.deadline import eventually
from support.messages import raises
from support.watched_api import WatchedApi, cluster_of

LONGEST, CLOSE_AFTER = 3600, 600


def without_times(revoked: RevocationSnapshot) -> RevocationSnapshot:
    """A list without the fields that depend on the time."""
    return replace(
        revoked, issued_after_unix=0, closed_after_unix=0, stable=frozenset(),
        compacting=frozenset(),
    )  # fmt: skip


class Published:
    """A publisher that stores what it gets; `held` makes it slow."""

    def __init__(
        self, record: dict[str, Any] | None = None, *, is_first_start: bool = True
    ) -> None:
        self.is_first_start = is_first_start
        self.lists: list[RevocationSnapshot] = []
        self.record = record
        self.held = threading.Event()
        self.held.set()
        self.cannot_keep = False

    def publish(self, revoked: RevocationSnapshot) -> None:
        self.lists.append(revoked)
        self.held.wait(20)

    def save(self, record: dict[str, Any]) -> None:
        if self.cannot_keep:
            raise OSError(28, "No space left on device")
        self.record = record

    def load(self) -> dict[str, Any] | None:
        return self.record


class Running:
    def __init__(self, api: WatchedApi, publisher: Published) -> None:
        self.api, self.published, self.clock = api, publisher, MovableClock()
        self.watch = LocalRevocationController(
            cluster_of(api), publisher, self.clock, longest_lifetime_seconds=LONGEST,
            scope=Scope(denials_namespace="daypass"), close_after_seconds=CLOSE_AFTER,
        )  # fmt: skip

    def eventually_is(self, **expected: Any) -> None:
        def matching() -> bool:
            last = self.published.lists[-1:]
            return bool(last) and all(getattr(last[0], k) == v for k, v in expected.items())

        eventually(f"published: {expected}", matching)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running(WatchedApi(), Published())
    made.api.put("secrets", "s-1")
    made.api.put("serviceaccounts", "a-1")
    assert without_times(made.watch.first()) == RevocationSnapshot()
    made.watch.start()
    yield made
    made.watch.stop()


@pytest.mark.parametrize(
    ("plural", "uid", "field"),
    [("secrets", "s-1", "secrets"), ("serviceaccounts", "a-1", "service_accounts")],
)
def test_a_deletion_is_published(running: Running, plural: str, uid: str, field: str) -> None:
    running.api.delete(plural, uid)
    running.eventually_is(**{field: {uid}, "closed": False})


def test_an_object_with_deletion_timestamp_counts_as_deleted(running: Running) -> None:
    running.api.put("secrets", "s-1", deletionTimestamp="2027-01-01T00:00:00Z")
    running.eventually_is(secrets={"s-1"})


def test_an_object_being_deleted_at_start_is_on_the_first_list() -> None:
    api = WatchedApi()
    api.put("secrets", "s-1", deletionTimestamp="2027-01-01T00:00:00Z")
    made = Running(api, Published())
    assert without_times(made.watch.first()) == RevocationSnapshot(secrets={"s-1"})
    made.watch.stop()


def test_an_object_created_and_deleted_between_two_publications_is_listed(running: Running) -> None:
    running.api.put("secrets", "s-2")
    running.api.delete("secrets", "s-2")
    running.eventually_is(secrets={"s-2"})


def test_an_expired_resource_version_causes_a_relist_without_loss(running: Running) -> None:
    running.api.fails = 0
    eventually("the failure is seen", lambda: running.watch.trouble)
    running.api.delete("secrets", "s-1")
    running.api.events.clear()
    running.api.forgotten = running.api.version
    running.api.fails = None
    running.eventually_is(secrets={"s-1"})
    assert running.api.lists("secrets") == 2


def test_a_broken_connection_is_resumed_where_it_broke(running: Running) -> None:
    running.api.fails = 0
    eventually("the failure is seen", lambda: running.watch.trouble)
    running.api.delete("secrets", "s-1")
    running.api.fails = None
    running.eventually_is(secrets={"s-1"})
    assert running.api.lists("secrets") == 1
    eventually("the trouble is over", lambda: not running.watch.trouble)


@pytest.mark.parametrize("breaking", [None, httpx2.ReadError, httpx2.RemoteProtocolError])
@pytest.mark.parametrize(("times", "lists"), [(1, 1), (1_000_000, 2)])
def test_a_watch_that_breaks_twice_at_one_point_relists_without_loss(
    running: Running, breaking: type[httpx2.TransportError] | None, times: int, lists: int
) -> None:
    api = running.api
    api.put("secrets", "s-2")
    api.put("secrets", "s-3")
    eventually("they are known", lambda: "s-3" in json.dumps(running.published.record))
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
    eventually("the failure is seen", lambda: "api.test" in running.watch.trouble)
    running.clock.move(CLOSE_AFTER - 60)
    assert not running.watch.is_closed
    running.clock.move(61)
    running.eventually_is(closed=True)
    running.api.fails = None
    running.eventually_is(closed=False)


def test_a_list_is_renewed_at_half_of_its_validity(running: Running) -> None:
    first = running.watch.first().closed_after_unix
    assert first == pytest.approx(running.clock.unix() + CLOSE_AFTER, abs=2)
    running.clock.move(CLOSE_AFTER / 2 + 1)
    until = eventually(
        "it is renewed", lambda: [r for r in running.published.lists if r.closed_after_unix > first]
    )
    assert until[0].closed_after_unix >= first + CLOSE_AFTER / 2


def test_a_list_that_cannot_be_recorded_is_published_and_not_renewed(running: Running) -> None:
    eventually("the Secret is kept", lambda: "s-1" in json.dumps(running.published.record))
    running.published.cannot_keep = True
    running.api.delete("secrets", "s-1")
    running.eventually_is(secrets={"s-1"})
    until = running.published.lists[-1].closed_after_unix
    running.clock.move(CLOSE_AFTER / 2 + 1)
    eventually("it is reported", lambda: "No space left" in running.watch.trouble)
    running.api.put("secrets", "s-2")
    running.api.delete("secrets", "s-2")
    running.eventually_is(secrets={"s-1", "s-2"})
    assert running.published.lists[-1].closed_after_unix == until
    running.clock.move(CLOSE_AFTER / 2)
    assert running.watch.is_expired
    running.published.cannot_keep = False
    eventually("it is open again", lambda: not running.watch.is_expired)


def test_a_missing_permission_is_reported_and_keeps_the_gate_closed() -> None:
    api = WatchedApi()
    api.fails = 403
    made = Running(api, Published())
    assert made.watch.first().closed
    assert 'resources: ["secrets"]' in made.watch.trouble
    made.watch.stop()


def test_only_the_metadata_of_secrets_is_requested(running: Running) -> None:
    eventually("it watches", lambda: len(running.api.asked) > 6)
    asked = [r for r in list(running.api.asked) if r.url.path.endswith("secrets")]
    assert all("PartialObjectMetadata" in r.headers["accept"] for r in asked)
    assert all("type=kubernetes.io" in r.url.params["fieldSelector"] for r in asked)


def test_many_deletions_are_published_in_few_lists(running: Running) -> None:
    running.published.held.clear()
    running.api.put("secrets", "first")
    running.api.delete("secrets", "first")
    eventually("the first is being published", lambda: running.published.lists)
    names = {f"many-{number}" for number in range(2000)}
    for name in names:
        running.api.put("secrets", name)
        running.api.delete("secrets", name)
    eventually("all are seen", lambda: running.api.version > 4000 and running.watch.trouble == "")
    running.published.held.set()
    running.eventually_is(secrets=names | {"first"})
    assert len(running.published.lists) < 400


def test_a_deletion_while_the_watch_was_stopped_is_listed(running: Running) -> None:
    eventually("the Secret is kept", lambda: "s-1" in json.dumps(running.published.record))
    running.watch.stop()
    api = WatchedApi()
    api.put("serviceaccounts", "a-1")
    second = Running(api, Published(running.published.record))
    assert without_times(second.watch.first()) == RevocationSnapshot(secrets={"s-1"})
    second.watch.stop()


def test_without_its_record_older_tokens_are_refused_even_after_a_restart() -> None:
    first = Running(WatchedApi(), Published(is_first_start=False))
    began = int(first.clock.unix())
    assert first.watch.record_is_lost
    at_first = first.watch.first()
    assert (at_first.closed, at_first.issued_after_unix) == (True, began + 1)
    first.clock.move(1)
    assert not first.watch.first().closed
    first.watch.start()
    record = eventually("it is recorded", lambda: first.published.record)
    first.watch.stop()
    again = Running(WatchedApi(), Published(record, is_first_start=False))
    assert not again.watch.record_is_lost
    assert again.watch.first().issued_after_unix == began + 1
    again.clock.move(LONGEST + 120)
    assert again.watch.first().issued_after_unix < again.clock.unix() - LONGEST
    again.watch.stop()


def test_at_a_first_start_no_token_is_refused_for_its_age() -> None:
    made = Running(WatchedApi(), Published())
    assert not made.watch.record_is_lost
    assert made.watch.first().issued_after_unix <= made.clock.unix() - LONGEST
    made.watch.stop()


@pytest.mark.parametrize("record", [{}, {"format": 1}, {"format": 3}], ids=["empty", "1", "3"])
def test_a_damaged_record_is_an_error(record: dict[str, Any]) -> None:
    with raises(RecordError):
        Running(WatchedApi(), Published(record))


def test_manual_denials_follow_the_config_map(running: Running) -> None:
    data = {"uid.u-1": "2999-01-01T00:00:00Z", "jti.j-1": "no time", "other": "x",
            "uid.u-2": "2001-01-01T00:00:00Z", "uid.": ""}  # fmt: skip
    running.api.put("configmaps", "daypass-denied", namespace="daypass", data=data)
    running.eventually_is(secrets={"u-1"}, service_accounts={"u-1"}, tokens={"j-1"})
    running.api.delete("configmaps", "daypass-denied")
    running.eventually_is(secrets=set(), tokens=set())
