"""Clocks, timestamps and random delays."""

import random

import pytest

from daypass._core.clock import (
    parse_http_date,
    parse_rfc3339,
    random_fraction,
    rfc3339,
)
from support.timing import NOON


def test_a_random_delay_neither_uses_nor_changes_the_state_of_random() -> None:
    of_the_user = random.getstate()
    drawn = {random_fraction() for _ in range(100)}
    assert random.getstate() == of_the_user
    assert len(drawn) > 90  # of 2**32 values
    assert all(0 <= each < 1 for each in drawn)


@pytest.mark.parametrize(
    "text", ["2027-01-15T08:00:00Z", "2027-01-15T08:00:00.000Z", "2027-01-15T10:00:00+02:00"]
)
def test_kubernetes_times_are_read(text: str) -> None:
    moment = parse_rfc3339(text)
    assert moment is not None
    assert moment.timestamp() == NOON
    assert rfc3339(moment) == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "2027-01-15", "2027-01-15T08:00:00", "20270115T080000Z",
     "2027-13-15T08:00:00Z", "0001-01-01T00:00:00+23:00", "None"],
)  # fmt: skip
def test_an_invalid_kubernetes_time_is_refused(text: str) -> None:
    assert parse_rfc3339(text) is None


def test_http_times_are_read() -> None:
    assert parse_http_date("Fri, 15 Jan 2027 08:00:00 GMT") == NOON
    assert parse_http_date("Fri, 15 Jan 2027 07:59:60 GMT") == NOON - 1  # a leap second


@pytest.mark.parametrize(
    "text",
    ["", "Friday, 15-Jan-27 08:00:00 GMT", "Fri Jan 15 08:00:00 2027",
     "Fri, 15 Jan 2027 08:00:00 CET", "Fri, 15 Jan 2027 08:00 GMT", "Fri, 32 Jan 2027 08:00:00 GMT",
     "Fri, 15 Jän 2027 08:00:00 GMT", "Fri, 15 Jan 99999 08:00:00 GMT",
     "Fri, \u0661\u0665 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 :: GMT"],
)  # fmt: skip
def test_an_invalid_http_date_is_refused(text: str) -> None:
    assert parse_http_date(text) is None
