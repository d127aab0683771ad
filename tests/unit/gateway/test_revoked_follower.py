"""What an authorizer of a cluster takes for revoked, and when it takes nobody's word for it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from daypass.gateway.review.revoked_follower import CLOSED, RevokedFollower
from daypass.gateway.revoked_list import RevokedList, revoked_config_map
from daypass.kube.cluster import Cluster
from daypass.render.envoy.revocation import Revoked
from support.messages import check
from support.timing import FakeClock

CLOSE_AFTER = 60.0


class Followed:
    """A follower without threads, and what it has handed on."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.taken: list[Revoked] = []
        self.follower = RevokedFollower(
            cast("Cluster", None), "daypass", self.taken.append, self.clock,
            close_after_seconds=CLOSE_AFTER,
        )  # fmt: skip

    def see(self, *, heard: float = 0.0, **names: Any) -> None:
        """A list that was confirmed so many seconds ago."""
        listed = RevokedList(revoked=Revoked(**names), heard_unix=self.clock.unix() - heard)
        self.follower.see(revoked_config_map(listed, "daypass"))

    @property
    def is_closed(self) -> bool:
        """What the last word was."""
        self.follower.tell()
        return self.taken[-1].closed


def test_a_list_is_handed_on_once() -> None:
    followed = Followed()
    followed.see(secrets={"a"})
    followed.see(secrets={"a"})
    followed.follower.tell()
    assert [each.secrets for each in followed.taken] == [{"a"}]


def test_before_there_is_a_list_nothing_is_handed_on() -> None:
    followed = Followed()
    followed.follower.see(None)
    followed.follower.tell()
    assert followed.taken == []
    assert "ConfigMap daypass-gate-revoked" in followed.follower.trouble
    assert "`daypass gate watch`" in followed.follower.trouble
    check(followed.follower.trouble, reason="trouble")


def test_a_list_that_nobody_confirms_closes_and_keeps_what_is_on_it() -> None:
    followed = Followed()
    followed.see(secrets={"a"})
    followed.clock.advance(CLOSE_AFTER - 1)
    assert not followed.is_closed
    followed.clock.advance(1)
    assert followed.is_closed
    assert followed.taken[-1].secrets == {"a"}
    followed.see(secrets={"a"})
    assert not followed.is_closed


@pytest.mark.parametrize(("heard", "closed"), [(59, False), (60, True), (10**6, True), (-5, False)])
def test_what_counts_is_when_the_watch_last_knew_and_not_when_it_was_read(
    heard: float, closed: bool
) -> None:
    followed = Followed()
    followed.see(heard=heard)
    assert followed.is_closed is closed


def test_a_word_from_the_future_confirms_nothing() -> None:
    followed = Followed()
    followed.see(heard=-3600)
    assert followed.is_closed
    followed.see(secrets={"a"})
    followed.see(heard=-3600, secrets={"a", "b"})
    assert followed.taken[-1].secrets == {"a", "b"}, "but what it names is refused"
    followed.clock.advance(CLOSE_AFTER)
    assert followed.is_closed


def test_a_clock_that_is_set_back_keeps_nothing_open() -> None:
    followed = Followed()
    followed.see()
    followed.clock.advance(CLOSE_AFTER)
    followed.clock.now_unix -= 3600
    assert followed.is_closed


@pytest.mark.parametrize(
    "found",
    [None, {"data": {"heardAt": "x"}}, {}, {"data": None}],
    ids=["none", "time", "empty", "no data"],
)
def test_what_cannot_be_read_leaves_the_last_list_in_force_until_it_is_too_old(found: Any) -> None:
    followed = Followed()
    followed.see(secrets={"a"})
    followed.follower.see(found)
    assert followed.follower.trouble
    check(followed.follower.trouble, reason="trouble")
    assert followed.taken[-1].secrets == {"a"}
    assert not followed.is_closed
    followed.clock.advance(CLOSE_AFTER)
    assert followed.is_closed


def test_closed_without_a_list_refuses_everybody() -> None:
    assert CLOSED.closed
