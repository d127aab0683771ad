"""Exactly one of several replicas publishes, whatever clocks and connections do."""

from __future__ import annotations

import pytest

from daypass.kube.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS, Lease
from support.messages import check
from support.timing import FakeClock
from unit.kube.objects_api import ObjectsApi


class Candidates:
    """An API server and its time, with three replicas that want one lease."""

    def __init__(self) -> None:
        self.api, self.clock = ObjectsApi(), FakeClock()
        self.one, self.two, self.three = (self._lease(me) for me in ("one", "two", "three"))

    def _lease(self, me: str) -> Lease:
        cluster = self.api.cluster(self.clock)
        return Lease(cluster, namespace="daypass", name="watch", me=me)

    @property
    def term(self) -> int:
        """What is written."""
        (lease,) = self.api.objects.values()
        return int(lease["spec"]["leaseTransitions"])


@pytest.fixture
def candidates() -> Candidates:
    """The lease is held by `one`, as the others have seen."""
    candidates = Candidates()
    for lease in (candidates.one, candidates.two, candidates.three):
        lease.attempt()
    return candidates


def test_the_lease_of_a_lost_holder_is_taken_after_its_duration(candidates: Candidates) -> None:
    candidates.clock.advance(DURATION_SECONDS)
    candidates.two.attempt()
    assert not candidates.two.is_held
    candidates.clock.advance(1)
    assert not candidates.one.is_held
    candidates.two.attempt()
    assert candidates.two.is_held
    candidates.one.attempt()
    assert (candidates.one.is_held, candidates.one.holder) == (False, "two")


def test_a_holder_that_cannot_renew_stops_before_another_may_start(candidates: Candidates) -> None:
    one = candidates.one
    candidates.api.fails = True
    candidates.clock.advance(RENEW_WITHIN_SECONDS - 1)
    one.attempt()
    assert one.is_held
    assert one.last_error
    check(one.last_error, reason="trouble")
    candidates.clock.advance(1)
    assert not one.is_held
    assert RENEW_WITHIN_SECONDS < DURATION_SECONDS


def test_an_expired_lease_goes_to_exactly_one_of_two(candidates: Candidates) -> None:
    candidates.clock.advance(DURATION_SECONDS + 1)
    candidates.api.meanwhile.append(candidates.three.attempt)
    candidates.two.attempt()
    assert (candidates.two.is_held, candidates.three.is_held) == (False, True)


@pytest.mark.parametrize("held_seconds", [0, RENEW_WITHIN_SECONDS + 1])
def test_a_released_lease_is_free_at_once_even_one_that_was_not_renewed(
    candidates: Candidates, held_seconds: float
) -> None:
    candidates.clock.advance(held_seconds)
    candidates.one.stop()
    candidates.two.attempt()
    assert (candidates.one.is_held, candidates.two.is_held) == (False, True)


def test_the_clock_of_the_holder_is_ignored(candidates: Candidates) -> None:
    (lease,) = candidates.api.objects.values()
    lease["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
    candidates.two.attempt()
    assert not candidates.two.is_held


def test_each_acquisition_has_a_higher_term_and_a_renewal_the_same(candidates: Candidates) -> None:
    candidates.one.attempt()
    assert candidates.one.term == candidates.term == 1
    candidates.one.stop()
    candidates.two.attempt()
    candidates.two.attempt()
    assert candidates.two.term == candidates.term == 2
    candidates.clock.advance(DURATION_SECONDS + 1)
    candidates.two.attempt()
    assert (candidates.two.is_held, candidates.two.term) == (True, 2)


def test_a_lease_that_was_deleted_or_restored_is_acquired_again_with_a_higher_term(
    candidates: Candidates,
) -> None:
    (path,) = candidates.api.objects
    candidates.one.attempt(above=6)
    saved = candidates.api.objects.pop(path)
    candidates.one.attempt()
    assert (candidates.one.is_held, candidates.one.term) == (True, 8)
    saved["spec"]["leaseTransitions"] = 3
    candidates.api.put(path, saved)
    candidates.one.attempt()
    assert (candidates.one.is_held, candidates.one.term) == (True, 9)


def test_a_term_is_raised_by_the_holder_alone(candidates: Candidates) -> None:
    candidates.one.attempt(above=5)
    assert candidates.one.term == candidates.term == 6
    candidates.one.attempt(above=2)
    candidates.two.attempt(above=9)
    assert candidates.one.term == candidates.term == 6
    assert candidates.two.term == 0
