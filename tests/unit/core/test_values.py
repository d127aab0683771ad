"""Secret, Clock, Status, errors, durations, the version."""

from __future__ import annotations

import copy
import pickle
import re
from datetime import UTC

import pytest

from daypass._core.clock import SYSTEM_CLOCK, utc
from daypass._core.duration import parse_seconds
from daypass._core.errors import DaypassError, MissingExtraError, UsageError
from daypass._core.secret import Secret
from daypass._core.status import Status, excerpt
from daypass._core.text import LIMIT_FOREIGN_CHARACTERS, printable
from support.messages import raises


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret("hush")
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {[secret]}"
    assert "hush" not in shown
    assert secret.reveal() == "hush"


def test_a_secret_is_not_pickled() -> None:
    for spoil in (pickle.dumps, copy.copy):
        with raises(TypeError):
            spoil(Secret("hush"))


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret("")


def test_the_system_clock_gives_seconds() -> None:
    assert SYSTEM_CLOCK.unix() > 1_700_000_000
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
    assert utc(0).tzinfo is UTC


def test_an_error_has_a_fact_and_a_hint_and_can_be_pickled() -> None:
    for error in (
        DaypassError("fact"),
        DaypassError("fact", "hint"),
        UsageError("fact", "hint"),
        MissingExtraError("daypass up", "local"),
    ):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(again), str(again)) == (type(error), str(error))
        assert (again.fact, again.hint) == (error.fact, error.hint)
        assert not again.heals_by_itself
    assert str(DaypassError("fact", "hint")) == "fact\nhint"
    assert str(DaypassError("fact")) == "fact"


def test_a_status_is_parsed_and_kept_complete() -> None:
    status = Status.parse(b'{"kind":"Status","code":404,"reason":"NotFound","message":"m","x":1}')
    assert status is not None
    assert (status.code, status.reason, status.message) == (404, "NotFound", "m")
    assert status.document["x"] == 1
    again = pickle.loads(pickle.dumps(status))  # noqa: S301 - our own bytes
    assert repr(again) == repr(status)


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b'{"kind":"Pod"}', b"\xff", b"[" * 100_000, b'"Status"']
)
def test_a_body_that_is_no_status_parses_as_none(body: bytes) -> None:
    assert Status.parse(body) is None


def test_a_status_with_wrong_types_is_empty() -> None:
    status = Status.parse(b'{"kind":"Status","code":"404","reason":[],"message":null}')
    assert status is not None
    assert (status.code, status.reason, status.message) == (0, "", "")


def test_foreign_text_becomes_one_printable_line_of_limited_length() -> None:
    assert excerpt(b"a\n\tb\x1b[2J\xff c") == "a b [2J\ufffd c"
    assert len(excerpt(b"x" * 100_000)) == LIMIT_FOREIGN_CHARACTERS
    assert printable("a\u202eb", 10) == "a b"
    assert printable("x" * 100, 10) == "x" * 10


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3600", 3600), ("90m", 5400), ("1h30m", 5400), ("1d", 86400), ("1d2h3m4s", 93784), ("0", 0)],
)
def test_a_duration_is_parsed(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "h", "1h2", "1m1h", "1h1h", "-1", "+1", "1.5h", "1 h", " 1h", "\u0663h", "1w", "9" * 30],
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with raises(UsageError, match=re.escape(repr(text))):
        parse_seconds(text)
