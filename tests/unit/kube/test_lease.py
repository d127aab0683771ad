"""Exactly one of several replicas publishes, whatever clocks and connections do."""

from __future__ import annotations

import pytest

from daypass.kube.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS, Lease
from support.messages import check
from support.objects_api import ObjectsApi
from support.timing import FakeClock


class World:
    def __init__(self) -> None:
        self.api, self.clock = ObjectsApi(), FakeClock()

    def lease(self, me: str) -> Lease:
        cluster = self.api.cluster()
        return Lease(cluster, self.clock, namespace="daypass", name="watch", me=me)


def test_one_of_two_gets_the_lease_and_keeps_it() -> None:
    world = World()
    one, two = world.lease("one"), world.lease("two")
    for _ in range(20):
        one.attempt()
        two.attempt()
        assert (one.is_held, two.is_held, two.holder) == (True, False, "one")
        world.clock.advance(RENEW_WITHIN_SECONDS / 2)


def test_the_lease_of_a_lost_holder_is_taken_after_its_duration() -> None:
    world = World()
    one, two = world.lease("one"), world.lease("two")
    one.attempt()
    two.attempt()
    world.clock.advance(DURATION_SECONDS)
    two.attempt()
    assert not two.is_held
    world.clock.advance(1)
    assert not one.is_held
    two.attempt()
    assert two.is_held
    one.attempt()
    assert (one.is_held, one.holder) == (False, "two")


def test_a_holder_that_cannot_renew_stops_before_another_may_start() -> None:
    world = World()
    one = world.lease("one")
    one.attempt()
    world.api.fails = True
    world.clock.advance(RENEW_WITHIN_SECONDS - 1)
    one.attempt()
    assert one.is_held
    check(one.last_error, reason="trouble")
    assert one.last_error
    world.clock.advance(1)
    assert not one.is_held
    assert RENEW_WITHIN_SECONDS < DURATION_SECONDS


def test_an_expired_lease_goes_to_exactly_one_of_two() -> None:
    world = World()
    one, two, three = (world.lease(name) for name in ("one", "two", "three"))
    one.attempt()
    two.attempt()
    three.attempt()
    world.clock.advance(DURATION_SECONDS + 1)
    world.api.meanwhile.append(three.attempt)
    two.attempt()
    assert (two.is_held, three.is_held) == (False, True)


@pytest.mark.parametrize("held_seconds", [0, RENEW_WITHIN_SECONDS + 1])
def test_a_released_lease_is_free_at_once_even_one_that_was_not_renewed(
    held_seconds: float,
) -> None:
    world = World()
    one, two = world.lease("one"), world.lease("two")
    one.attempt()
    world.clock.advance(held_seconds)
    one.stop()
    two.attempt()
    assert (one.is_held, two.is_held) == (False, True)


def test_the_clock_of_the_holder_is_ignored() -> None:
    world = World()
    one, two = world.lease("one"), world.lease("two")
    one.attempt()
    (lease,) = world.api.objects.values()
    lease["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
    two.attempt()
    assert not two.is_held
