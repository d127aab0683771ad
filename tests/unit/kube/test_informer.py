"""The informer: a current list of objects, and the failures that it reports."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from daypass.kube import informer
from daypass.kube.errors import (
    BrokenResponseError,
    ClusterUnreachableError,
    KubeconfigError,
    explain,
)
from daypass.kube.informer import LISTED, Informer, ObjectStore, is_transient
from daypass.kube.resources import SECRETS, Object
from support.deadline import eventually
from support.messages import check
from support.timing import FakeClock
from support.watched_api import WatchedApi, cluster_of

WATCH_SECONDS = 15


@dataclass
class Running:
    api: WatchedApi = field(default_factory=WatchedApi)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.store = ObjectStore()
        self.informer = Informer(
            cluster_of(self.api), SECRETS, None, self.store.update, self.clock,
            watch_seconds=WATCH_SECONDS,
        )  # fmt: skip

    def error_after_attempt(self, fails: int | None) -> str:
        self.api.fails = fails
        self.informer.sync()
        return self.informer.last_error


@pytest.fixture
def running() -> Running:
    made = Running()
    assert made.error_after_attempt(None) == ""
    return made


UNREACHABLE, BROKEN, FORBIDDEN = 0, 500, 403


@pytest.mark.parametrize("fails", [UNREACHABLE, BROKEN], ids=["unreachable", "broken"])
def test_a_failure_that_repeats_is_reported(running: Running, fails: int) -> None:
    assert running.error_after_attempt(fails) == ""
    check(running.error_after_attempt(fails), reason="trouble")
    assert running.informer.last_error


def test_transient_failures_are_not_reported(running: Running) -> None:
    for _ in range(3):
        assert running.error_after_attempt(UNREACHABLE) == ""
        assert running.error_after_attempt(None) == ""


def test_recovery_clears_the_reported_failure(running: Running) -> None:
    running.error_after_attempt(UNREACHABLE)
    assert running.error_after_attempt(UNREACHABLE)
    assert running.error_after_attempt(None) == ""
    assert running.error_after_attempt(UNREACHABLE) == ""


def test_a_failure_after_a_long_silence_is_reported_at_once(running: Running) -> None:
    running.clock.advance(WATCH_SECONDS)  # a watch without events that has timed out
    assert running.error_after_attempt(UNREACHABLE) == ""
    running.error_after_attempt(None)
    running.clock.advance(2 * WATCH_SECONDS)
    assert running.error_after_attempt(UNREACHABLE)


def test_a_missing_permission_is_reported_at_once(running: Running) -> None:
    last_error = running.error_after_attempt(FORBIDDEN)
    assert 'verbs: ["list"]' in last_error
    check(last_error, reason="forbidden")


def test_the_first_failure_before_any_event_is_reported() -> None:
    assert Running().error_after_attempt(UNREACHABLE)


def test_a_watch_resumes_from_the_last_event_or_bookmark(running: Running) -> None:
    api = running.api
    api.put("secrets", "s-1")
    api.version += 1
    bookmark = {"metadata": {"namespace": "team", "resourceVersion": str(api.version)}}
    api.events.append((api.version, "secrets", "BOOKMARK", bookmark))
    running.informer.start()
    try:
        eventually(
            "it resumes from there",
            lambda: api.asked[-1].url.params.get("resourceVersion") == str(api.version),
        )
        assert [each["metadata"]["uid"] for each in running.store.objects()] == ["s-1"]
        assert api.lists("secrets") == 1
    finally:
        running.informer.stop()


def test_requests_to_an_unreachable_api_server_back_off(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def jitter(pause: float) -> float:
        pauses.append(pause)
        return 0.0

    monkeypatch.setattr(informer, "jitter", jitter)
    running.api.fails = UNREACHABLE
    running.informer.start()
    try:
        eventually("it has tried often", lambda: len(pauses) >= 8)
    finally:
        running.informer.stop()
    assert pauses[:8] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]


def thing(uid: str, version: int = 1) -> Object:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}}


def test_a_store_holds_the_last_list_and_the_changes_since() -> None:
    store = ObjectStore()
    seen = []
    for event, objects in [
        (LISTED, [thing("a")]), ("ADDED", [thing("b")]), ("MODIFIED", [thing("b", 2)]),
        ("DELETED", [thing("a")]), ("DELETED", [thing("unknown")]), (LISTED, [thing("c")]),
    ]:  # fmt: skip
        store.update(event, objects)
        seen.append([each["metadata"]["uid"] for each in store.objects()])
    assert seen == [["a"], ["a", "b"], ["a", "b"], ["b"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ClusterUnreachableError("x"), True),
        (BrokenResponseError("x"), True),
        (explain(500, b"", "x"), True),
        (explain(410, b"", "x"), True),
        (explain(403, b"", "x"), False),
        (KubeconfigError("x", ""), False),
        (KeyError("x"), False),
    ],
)
def test_an_error_is_transient_if_a_retry_may_succeed(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient
