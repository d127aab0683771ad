"""Freshness of tokens, and what a door may not issue."""

from __future__ import annotations

import pytest

from daypass.client.errors import NotADoorError
from daypass.client.token import (
    deferred_seconds,
    fresh_seconds,
    usable_seconds,
)
from support.exchanges import run_exchange
from support.fake_door import AUDIENCE, token_answer
from support.messages import raises
from support.timing import NOON, FakeClock, FakeTiming


@pytest.mark.parametrize(
    ("lifetime", "usable"), [(3600, 3590), (600, 590), (100, 90), (60, 54), (0, 0), (-5, 0)]
)
def test_the_last_seconds_of_a_token_are_not_used(lifetime: float, usable: float) -> None:
    assert usable_seconds(lifetime) == usable


@pytest.mark.parametrize(
    ("is_first", "jitter", "quiet"),
    [(True, 0.0, 200), (True, 1.0, 750), (False, 0.0, 450), (False, 1.0, 750)],
)
def test_the_first_refresh_is_spread_wider_than_the_later_ones(
    is_first: bool, jitter: float, quiet: float
) -> None:
    assert fresh_seconds(1000, jitter, is_first=is_first) == pytest.approx(quiet)


def test_a_failed_refresh_is_delayed_by_a_share_of_the_remaining_lifetime() -> None:
    assert deferred_seconds(1000, 0.0) == 100
    assert deferred_seconds(1000, 1.0) == 900


def test_a_token_is_not_fresh_after_the_machine_slept() -> None:
    clock = FakeClock()
    token = run_exchange([token_answer()], timing=FakeTiming(clock))
    token.fresh_seconds = 2000
    assert token.is_fresh(clock)
    clock.now_unix += 3000  # a clock that stands still meanwhile
    assert not token.is_fresh(clock)
    assert token.is_usable(clock)
    clock.now_unix += 590
    assert not token.is_usable(clock)


def test_a_clock_that_is_set_back_does_not_make_a_token_younger() -> None:
    clock = FakeClock()
    token = run_exchange([token_answer()], timing=FakeTiming(clock))
    clock.now_monotonic += 3590
    clock.now_unix -= 86400
    assert not token.is_usable(clock)


@pytest.mark.parametrize("offset", [-86400, 86400])
def test_a_wrong_date_header_never_lengthens_a_token(offset: int) -> None:
    assert run_exchange([token_answer(date=NOON + offset)]).usable_seconds <= 3590


def test_without_a_date_header_the_local_clock_is_used() -> None:
    timing = FakeTiming(FakeClock(unix=NOON + 600))
    assert run_exchange([token_answer(date=None)], timing=timing).usable_seconds == 2990


def test_a_date_header_that_makes_a_new_token_expired_is_ignored_if_the_lifetime_is_known() -> None:
    token = run_exchange([token_answer(date=NOON + 7200)])
    assert token.usable_seconds == 3590
    spec = {"audiences": [AUDIENCE]}
    with raises(NotADoorError):
        run_exchange([token_answer(date=NOON + 7200, spec=spec)])


@pytest.mark.parametrize("characters", [16 * 1024 + 1, 900_000])
def test_a_token_too_long_for_a_header_is_refused(characters: int) -> None:
    status = {"token": "x" * characters, "expirationTimestamp": "2027-01-15T09:00:00Z"}
    with raises(NotADoorError):
        run_exchange([token_answer(status=status)])
    status["token"] = "x" * 16 * 1024
    assert run_exchange([token_answer(status=status)]).usable_seconds == 3590


def test_too_many_audiences_are_refused() -> None:
    spec = {"audiences": [AUDIENCE, *("x" * 100 for _ in range(1000))], "expirationSeconds": 3600}
    with raises(NotADoorError):
        run_exchange([token_answer(spec=spec)])
