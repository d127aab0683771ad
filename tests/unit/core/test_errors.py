"""The base of all errors."""

import pickle
import re

from daypass._core.errors import DaypassError, MissingExtraError, UsageError


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


def test_every_error_has_a_reason_code() -> None:
    class NotADogError(DaypassError):
        pass

    class BarksError(NotADogError):
        reason = "too-loud"

    assert DaypassError("fact").reason == "failed"
    assert NotADogError("fact").reason == "not-a-dog"
    assert (BarksError("fact").reason, BarksError("fact", reason="bites").reason) == (
        "too-loud",
        "bites",
    )
    for kind in DaypassError.__subclasses__():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.reason)
