"""The base of all errors."""

import re

from daypass._core.errors import DaypassError


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
