"""The revocation list that an authorizer uses, and when it closes the gate."""

from __future__ import annotations

from typing import Any, cast

import pytest
from daypass.gate.revocation.published_list import PublishedRevocations, revocation_config_map
from daypass.gate.revocation.revocation_list_client import CLOSED, RevocationListClient

from daypass.kube.cluster import Cluster
from daypass.kube.informer import LISTED
from daypass.render.envoy.filters import RevocationSnapshot
from support.messages import check
from support.timing import FakeClock

CLOSE_AFTER = 60.0


class Followed:
    """A client without threads, and the lists that it passed on."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.taken: list[RevocationSnapshot] = []
        self.client = RevocationListClient(
            cast("Cluster", None), "daypass", self.taken.append, self.clock,
            close_after_seconds=CLOSE_AFTER,
        )  # fmt: skip

    def receive(self, *, heard: float = 0.0, **names: Any) -> None:
        """Receive a list whose heartbeat is `heard` seconds old."""
        listed = PublishedRevocations(
            revoked=RevocationSnapshot(**names), heard_unix=self.clock.unix() - heard
        )
        self.client.update("MODIFIED", [revocation_config_map(listed, "daypass")])

    @property
    def is_closed(self) -> bool:
        """Whether the last list closes the gate."""
        self.client.check()
        return self.taken[-1].closed


def test_an_unchanged_list_is_passed_on_once() -> None:
    followed = Followed()
    followed.receive(secrets={"a"})
    followed.receive(secrets={"a"})
    followed.client.check()
    assert [each.secrets for each in followed.taken] == [{"a"}]


def test_before_the_first_list_nothing_is_passed_on() -> None:
    followed = Followed()
    followed.client.update(LISTED, [])
    followed.client.check()
    assert followed.taken == []
    assert "ConfigMap daypass-gate-revoked" in followed.client.last_error
    assert "`daypass gate watch`" in followed.client.last_error
    check(followed.client.last_error, reason="trouble")


def test_a_stale_list_closes_the_gate_and_keeps_its_entries() -> None:
    followed = Followed()
    followed.receive(secrets={"a"})
    followed.clock.advance(CLOSE_AFTER - 1)
    assert not followed.is_closed
    followed.clock.advance(1)
    assert followed.is_closed
    assert followed.taken[-1].secrets == {"a"}
    followed.receive(secrets={"a"})
    assert not followed.is_closed


@pytest.mark.parametrize(("heard", "closed"), [(59, False), (60, True), (10**6, True), (-5, False)])
def test_the_age_of_a_list_is_measured_from_its_heartbeat(heard: float, closed: bool) -> None:
    followed = Followed()
    followed.receive(heard=heard)
    assert followed.is_closed is closed


def test_a_heartbeat_from_the_future_does_not_keep_the_gate_open() -> None:
    followed = Followed()
    followed.receive(heard=-3600)
    assert followed.is_closed
    followed.receive(secrets={"a"})
    followed.receive(heard=-3600, secrets={"a", "b"})
    assert followed.taken[-1].secrets == {"a", "b"}, "its entries are refused all the same"
    followed.clock.advance(CLOSE_AFTER)
    assert followed.is_closed


def test_a_clock_that_is_set_back_does_not_keep_the_gate_open() -> None:
    followed = Followed()
    followed.receive()
    followed.clock.advance(CLOSE_AFTER)
    followed.clock.now_unix -= 3600
    assert followed.is_closed


@pytest.mark.parametrize(
    "found",
    [None, {"data": {"heardAt": "x"}}, {}, {"data": None}],
    ids=["none", "time", "empty", "no data"],
)
def test_an_unreadable_list_leaves_the_last_one_in_force_until_it_is_stale(found: Any) -> None:
    followed = Followed()
    followed.receive(secrets={"a"})
    followed.client.update("MODIFIED", [] if found is None else [found])
    assert followed.client.last_error
    check(followed.client.last_error, reason="trouble")
    assert followed.taken[-1].secrets == {"a"}
    assert not followed.is_closed
    followed.clock.advance(CLOSE_AFTER)
    assert followed.is_closed


def test_the_closed_list_refuses_every_token() -> None:
    assert CLOSED.closed
