"""Exactly one of several replicas publishes, whatever clocks and connections do."""

from __future__ import annotations

import pytest

from daypass.kube.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS, Lease
from support.messages import check
from support.objects_api import ObjectsApi
from support.timing import FakeClock


class World:
    """An API server and its time, with three replicas that want one lease."""

    def __init__(self) -> None:
        self.api, self.clock = ObjectsApi(), FakeClock()
        self.one, self.two, self.three = (self._lease(me) for me in ("one", "two", "three"))

    def _lease(self, me: str) -> Lease:
        cluster = self.api.cluster()
        return Lease(cluster, self.clock, namespace="daypass", name="watch", me=me)

    @property
    def term(self) -> int:
        """What is written."""
        (lease,) = self.api.objects.values()
        return int(lease["spec"]["leaseTransitions"])


@pytest.fixture
def world() -> World:
    """The lease is held by `one`, as the others have seen."""
    world = World()
    for lease in (world.one, world.two, world.three):
        lease.attempt()
    return world


def test_one_of_two_gets_the_lease_and_keeps_it(world: World) -> None:
    for _ in range(20):
        world.one.attempt()
        world.two.attempt()
        assert (world.one.is_held, world.two.is_held, world.two.holder) == (True, False, "one")
        world.clock.advance(RENEW_WITHIN_SECONDS / 2)


def test_the_lease_of_a_lost_holder_is_taken_after_its_duration(world: World) -> None:
    world.clock.advance(DURATION_SECONDS)
    world.two.attempt()
    assert not world.two.is_held
    world.clock.advance(1)
    assert not world.one.is_held
    world.two.attempt()
    assert world.two.is_held
    world.one.attempt()
    assert (world.one.is_held, world.one.holder) == (False, "two")


def test_a_holder_that_cannot_renew_stops_before_another_may_start(world: World) -> None:
    one = world.one
    world.api.fails = True
    world.clock.advance(RENEW_WITHIN_SECONDS - 1)
    one.attempt()
    assert one.is_held
    assert one.last_error
    check(one.last_error, reason="trouble")
    world.clock.advance(1)
    assert not one.is_held
    assert RENEW_WITHIN_SECONDS < DURATION_SECONDS


def test_an_expired_lease_goes_to_exactly_one_of_two(world: World) -> None:
    world.clock.advance(DURATION_SECONDS + 1)
    world.api.meanwhile.append(world.three.attempt)
    world.two.attempt()
    assert (world.two.is_held, world.three.is_held) == (False, True)


@pytest.mark.parametrize("held_seconds", [0, RENEW_WITHIN_SECONDS + 1])
def test_a_released_lease_is_free_at_once_even_one_that_was_not_renewed(
    world: World, held_seconds: float
) -> None:
    world.clock.advance(held_seconds)
    world.one.stop()
    world.two.attempt()
    assert (world.one.is_held, world.two.is_held) == (False, True)


def test_the_clock_of_the_holder_is_ignored(world: World) -> None:
    (lease,) = world.api.objects.values()
    lease["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
    world.two.attempt()
    assert not world.two.is_held


def test_each_acquisition_has_a_higher_term_and_a_renewal_the_same(world: World) -> None:
    world.one.attempt()
    assert world.one.term == world.term == 1
    world.one.stop()
    world.two.attempt()
    world.two.attempt()
    assert world.two.term == world.term == 2
    world.clock.advance(DURATION_SECONDS + 1)
    world.two.attempt()
    assert (world.two.is_held, world.two.term) == (True, 2)


def test_a_lease_that_was_deleted_or_restored_is_acquired_again_with_a_higher_term(
    world: World,
) -> None:
    (path,) = world.api.objects
    world.one.attempt(above=6)
    saved = world.api.objects.pop(path)
    world.one.attempt()
    assert (world.one.is_held, world.one.term) == (True, 8)
    saved["spec"]["leaseTransitions"] = 3
    world.api.put(path, saved)
    world.one.attempt()
    assert (world.one.is_held, world.one.term) == (True, 9)


def test_a_term_is_raised_by_the_holder_alone(world: World) -> None:
    world.one.attempt(above=5)
    assert world.one.term == world.term == 6
    world.one.attempt(above=2)
    world.two.attempt(above=9)
    assert world.one.term == world.term == 6
    assert world.two.term == 0


def test_a_lease_is_left_to_a_holder_that_renews_it(world: World) -> None:
    world.two._cluster.sleep = lambda seconds: world.one.attempt()
    assert not world.two.acquire()
    assert world.two.holder == "one"


def test_the_lease_of_a_lost_holder_is_acquired_after_its_duration(world: World) -> None:
    world.two._cluster.sleep = world.clock.advance
    began = world.clock.monotonic()
    assert world.two.acquire()
    assert DURATION_SECONDS < world.clock.monotonic() - began < 2 * DURATION_SECONDS
    world.two.stop()
