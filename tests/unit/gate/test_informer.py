"""The failures that an informer reports: lasting ones, until it recovers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from daypass.kube.informer import Informer, WatchSpec
from daypass.kube.resources import SECRETS
from support.messages import check
from support.timing import FakeClock
from support.watched_api import WatchedApi, cluster_of

WATCH_SECONDS = 15


@dataclass
class Running:
    api: WatchedApi = field(default_factory=WatchedApi)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        followed = WatchSpec(
            resource=SECRETS, watch_seconds=WATCH_SECONDS,
            listed=lambda _: None, happened=lambda *_: None,
        )  # fmt: skip
        self.feed = Informer(
            cluster_of(self.api), followed, self.clock,
            lock=threading.RLock(), changed=threading.Event(),
            listing=threading.BoundedSemaphore(),
        )  # fmt: skip

    def trouble_after_attempt(self, fails: int | None) -> str:
        self.api.fails = fails
        self.feed.look()
        return self.feed.trouble


@pytest.fixture
def running() -> Running:
    made = Running()
    assert made.trouble_after_attempt(None) == ""
    return made


UNREACHABLE, BROKEN, FORBIDDEN = 0, 500, 403


@pytest.mark.parametrize("fails", [UNREACHABLE, BROKEN], ids=["unreachable", "broken"])
def test_a_failure_that_repeats_is_reported(running: Running, fails: int) -> None:
    assert running.trouble_after_attempt(fails) == ""
    check(running.trouble_after_attempt(fails), reason="trouble")
    assert running.feed.trouble


def test_transient_failures_are_not_reported(running: Running) -> None:
    for _ in range(3):
        assert running.trouble_after_attempt(UNREACHABLE) == ""
        assert running.trouble_after_attempt(None) == ""


def test_recovery_clears_the_reported_failure(running: Running) -> None:
    running.trouble_after_attempt(UNREACHABLE)
    assert running.trouble_after_attempt(UNREACHABLE)
    assert running.trouble_after_attempt(None) == ""
    assert running.trouble_after_attempt(UNREACHABLE) == ""


def test_a_failure_after_a_long_silence_is_reported_at_once(running: Running) -> None:
    running.clock.advance(WATCH_SECONDS)  # a watch without events that has timed out
    assert running.trouble_after_attempt(UNREACHABLE) == ""
    running.trouble_after_attempt(None)
    running.clock.advance(2 * WATCH_SECONDS)
    assert running.trouble_after_attempt(UNREACHABLE)


def test_a_missing_permission_is_reported_at_once(running: Running) -> None:
    trouble = running.trouble_after_attempt(FORBIDDEN)
    assert 'verbs: ["list"]' in trouble
    check(trouble, reason="forbidden")


def test_the_first_failure_before_any_event_is_reported() -> None:
    assert Running().trouble_after_attempt(UNREACHABLE)
