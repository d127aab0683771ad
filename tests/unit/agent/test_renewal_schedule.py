"""When a token file is due: pure decisions on clocks that a test sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daypass.agent import file_renewer
from daypass.agent.file_renewer import Moment, Schedule

START = Moment(unix=1_800_000_000.0, monotonic=1000.0)


def later(seconds: float, *, asleep: float = 0.0, set_back: float = 0.0) -> Moment:
    """A moment after START; the machine may have slept, or its clock been set back."""
    return Moment(
        unix=START.unix + seconds + asleep - set_back, monotonic=START.monotonic + seconds
    )


NEW = file_renewer.begin(START, stagger_seconds=0, chance=0.0)


def held(usable: float = 3600.0, chance: float = 1.0, before: Schedule = NEW) -> Schedule:
    return file_renewer.renewed(before, START, usable_seconds=usable, chance=chance)


def fail(before: Schedule, at: Moment, **changes: object) -> Schedule:
    known: dict[str, object] = {"heals_by_itself": True, "retry_after_seconds": None, "chance": 1.0}
    return file_renewer.failed(before, at, **{**known, **changes})  # type: ignore[arg-type]


def test_a_new_file_is_due_immediately_unless_staggered() -> None:
    assert file_renewer.begin(START, stagger_seconds=0, chance=0.9).wait_seconds(START) == 0
    begun = file_renewer.begin(START, stagger_seconds=60, chance=0.5)
    assert begun.wait_seconds(START) == 30
    assert begun.wait_seconds(later(31)) == 0
    assert not begun.is_good(START)


@pytest.mark.parametrize("usable", [86390, 3590, 590, 81, 3.6])
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_file_is_renewed_well_before_its_token_expires(usable: float, chance: float) -> None:
    first = held(usable, chance)
    second = held(usable, chance, before=first)
    for state in (first, second):
        assert 0.2 * usable <= state.wait_seconds(START) <= max(1, 0.8 * usable)


def test_agents_that_started_together_do_not_renew_together() -> None:
    waits = [held(1000, chance).wait_seconds(START) for chance in (0.0, 0.5, 1.0)]
    assert waits[0] < 300
    assert 400 < waits[1] < 600
    assert waits[2] > 700


@pytest.mark.parametrize("life", [0.0, -5.0, 1e-9])
def test_a_server_that_grants_expired_tokens_is_not_flooded(life: float) -> None:
    assert held(life).wait_seconds(START) >= file_renewer.SHORTEST_PAUSE_SECONDS
    assert not held(life).is_good(later(0.1))


def test_a_token_is_good_until_it_expires_despite_failures() -> None:
    failing = fail(held(), later(2880))
    assert failing.is_good(later(3599))
    assert not failing.is_good(later(3600))
    assert failing.held == held().held


@pytest.mark.parametrize(
    "now", [later(10, asleep=4000), later(4000, set_back=3990)], ids=["asleep", "clock set back"]
)
def test_the_larger_of_two_elapsed_times_is_used(now: Moment) -> None:
    assert held().wait_seconds(now) == 0
    assert not held().is_good(now)


def test_pauses_without_a_token_grow_to_a_limit() -> None:
    state, pauses = NEW, []
    for _ in range(8):
        state = fail(state, START)
        pauses.append(state.pause_seconds)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert state.failures == 8
    assert fail(NEW, START, chance=0.0).pause_seconds == 0.5


def test_retries_with_a_good_token_are_slow_but_leave_time_for_several() -> None:
    state = fail(held(3600), later(2880))
    assert 60 <= state.pause_seconds < 720


def test_permanent_failures_are_retried_less_often() -> None:
    first = fail(NEW, START, heals_by_itself=False)
    many = fail(replace(NEW, failures=20), START, heals_by_itself=False)
    assert (first.pause_seconds, many.pause_seconds) == (10, 300)


@pytest.mark.parametrize(("asked", "pause"), [(120.0, 150.0), (1e9, 750.0), (0.0, 1.0)])
def test_retry_after_is_obeyed_within_limits(asked: float, pause: float) -> None:
    assert fail(NEW, START, retry_after_seconds=asked).pause_seconds == pause


def test_a_million_failures_do_not_overflow() -> None:
    assert fail(replace(NEW, failures=10**6), START).pause_seconds == 30


def test_a_renewal_resets_the_failure_count() -> None:
    again = held(before=replace(NEW, failures=3))
    assert (again.failures, again.pause_seconds) == (0, held().pause_seconds)
