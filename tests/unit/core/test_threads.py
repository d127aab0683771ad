"""A poller: when it fetches, and what it keeps after a failure."""

from __future__ import annotations

from daypass._core.errors import DaypassError
from daypass._core.threads import Poller
from support.deadline import eventually


class Fetched:
    """Counts calls, which fail as `error` says."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    def __call__(self) -> int:
        self.count += 1
        if self.error is not None:
            raise self.error
        return self.count


def test_the_last_value_stays_while_calls_fail_and_they_go_on() -> None:
    fetched = Fetched()
    poller = Poller(fetched, 0.01)
    poller.start()
    try:
        eventually("it has fetched twice", lambda: (poller.latest or 0) >= 2)
        fetched.error = DaypassError("it is down")
        eventually("it fails", lambda: "it is down" in poller.last_error)
        fetched.error = KeyError("x")
        eventually("it fails unexpectedly", lambda: "KeyError" in poller.last_error)
        assert poller.latest is not None
        fetched.error = None
        eventually("it fetches again", lambda: poller.last_error == "")
    finally:
        poller.stop()


def test_it_fetches_at_once_if_it_was_not_called_before_and_when_it_is_asked() -> None:
    new, called = Fetched(), Fetched()
    pollers = Poller(new, 3600), Poller(called, 3600)
    pollers[1].fetch()
    for poller in pollers:
        poller.start()
    try:
        eventually("it fetches", lambda: new.count == 1)
        assert called.count == 1
        pollers[1].refresh().result(10)
        assert (pollers[1].latest, pollers[1].fetching) == (2, None)
    finally:
        for poller in pollers:
            poller.stop()
