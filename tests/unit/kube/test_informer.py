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
Attempt = tuple[int, int | None, bool]
STORIES: dict[str, list[Attempt]] = {
    "unreachable once is no failure": [(0, UNREACHABLE, False), (0, None, False)] * 3,
    "unreachable twice": [(0, UNREACHABLE, False), (0, UNREACHABLE, True)],
    "broken twice": [(0, BROKEN, False), (0, BROKEN, True)],
    "forbidden once": [(0, FORBIDDEN, True)],
    "a recovery clears it": [
        (0, UNREACHABLE, False), (0, UNREACHABLE, True), (0, None, False), (0, UNREACHABLE, False),
    ],
    "a watch without events that has timed out": [(WATCH_SECONDS, UNREACHABLE, False)],
    "once after a long silence": [(2 * WATCH_SECONDS, UNREACHABLE, True)],
}  # fmt: skip
"""Seconds that pass, how the attempt after them fails, and whether that is reported."""


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_failure_that_repeats_or_will_not_pass_is_reported(
    running: Running, story: list[Attempt]
) -> None:
    for seconds, fails, reported in story:
        running.clock.advance(seconds)
        last_error = running.error_after_attempt(fails)
        assert bool(last_error) is reported
        if reported:
            check(last_error, reason="trouble")


def test_a_missing_permission_is_named(running: Running) -> None:
    assert 'verbs: ["list"]' in running.error_after_attempt(FORBIDDEN)


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
