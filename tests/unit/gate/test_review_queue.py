"""The review queue: one review per token, sources in turn, bounded waiting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.authorizer.review_queue import PendingReview, ReviewQueue, source_of


def question(name: str, source: str = "a") -> PendingReview:
    return PendingReview(key=name.encode(), token=f"token-{name}", source=source)


def started(flights: ReviewQueue[str], now: float = 0.0) -> list[str]:
    found = []
    while (next_one := flights.next(now)) is not None:
        found.append(next_one.key.decode())
    return found


def test_requests_with_one_token_share_one_review() -> None:
    flights: ReviewQueue[str] = ReviewQueue()
    for waiter in "xyz":
        assert flights.submit(question("t"), waiter, 0.0) == []
    first = flights.next(0.0)
    assert first is not None
    assert flights.next(0.0) is None
    assert flights.submit(question("t"), "late", 0.0) == []
    assert flights.answered(first) == ["x", "y", "z", "late"]
    assert (flights.asked, flights.waiting) == (0, 0)


def test_sources_take_turns_however_many_requests_one_has() -> None:
    flights: ReviewQueue[str] = ReviewQueue(most_at_once=4)
    for number in range(50):
        flights.submit(question(f"flood-{number}", "flood"), "f", 0.0)
    flights.submit(question("one", "quiet"), "q", 0.0)
    assert started(flights) == ["flood-0", "one", "flood-1", "flood-2"]


def test_a_full_queue_rejects_the_last_request_of_the_longest_source() -> None:
    flights: ReviewQueue[str] = ReviewQueue(most_at_once=1, most_waiting=10)
    for number in range(10):
        assert flights.submit(question(f"flood-{number}", "flood"), f"f{number}", 0.0) == []
    assert flights.submit(question("flood-10", "flood"), "f10", 0.0) == ["f10"]
    assert flights.submit(question("one", "quiet"), "q", 0.0) == ["f9"]
    assert flights.waiting == 10


def test_no_request_waits_beyond_its_timeout_and_a_retry_joins_the_review() -> None:
    flights: ReviewQueue[str] = ReviewQueue(most_at_once=1, patience_seconds=0.5)
    flights.submit(question("slow"), "x", 0.0)
    flights.submit(question("behind"), "y", 0.1)
    first = flights.next(0.1)
    assert first is not None
    assert flights.impatient(0.4) == []
    assert flights.impatient(0.5) == ["x"]
    assert flights.impatient(0.65) == ["y"]
    assert flights.waiting == 0, "no request waits for it, so no review starts"
    flights.submit(question("slow"), "x again", 0.7)
    assert flights.answered(first) == ["x again"]


def test_after_a_failure_no_review_starts_for_a_while() -> None:
    flights: ReviewQueue[str] = ReviewQueue()
    flights.submit(question("t"), "x", 0.0)
    first = flights.next(0.0)
    assert first is not None
    assert flights.failed(first, 1.0, retry_after_seconds=7.0) == ["x"]
    assert flights.submit(question("u"), "y", 1.5) == ["y"]
    assert flights.retry_after_seconds(1.5) == 7
    assert flights.submit(question("u"), "y", 8.0) == []
    assert started(flights, 8.0) == ["u"]


@pytest.mark.parametrize(("retry_after", "until"), [(0.0, 1.5), (10.0**9, 60.0)])
def test_retry_after_from_the_api_server_is_bounded(retry_after: float, until: float) -> None:
    flights: ReviewQueue[str] = ReviewQueue()
    flights.submit(question("t"), "x", 0.0)
    first = flights.next(0.0)
    assert first is not None
    flights.failed(first, 1.0, retry_after_seconds=retry_after)
    assert flights.submit(question("u"), "y", until) == []


def test_concurrency_drops_after_failures_and_recovers() -> None:
    flights: ReviewQueue[str] = ReviewQueue(most_at_once=8)
    for number in range(4):
        flights.submit(question(f"t{number}"), "x", 0.0)
    for now in (0.0, 10.0, 20.0):
        failed = flights.next(now)
        assert failed is not None
        flights.failed(failed, now, None)
        for number in range(4):
            flights.submit(question(f"t{number}"), "x", now + 9)
    assert flights.allowed == 4
    for number in range(100):
        flights.submit(question(f"more{number}"), "x", 40.0)
        answered = flights.next(40.0)
        assert answered is not None
        flights.answered(answered)
    assert flights.allowed == 8


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("junk", ""),
    ],
)
def test_a_source_is_an_address_or_an_ipv6_prefix(address: str, source: str) -> None:
    assert source_of(address) == source


def test_a_queued_review_does_not_print_its_token() -> None:
    assert "token" not in repr(question("t"))


steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "next", "answer", "fail", "tick"]),
        st.integers(0, 12),
        st.sampled_from("abc"),
    ),
    max_size=120,
)


@given(steps=steps)
def test_every_request_is_answered_exactly_once(
    steps: list[tuple[str, int, str]],
) -> None:
    flights: ReviewQueue[int] = ReviewQueue(most_at_once=3, most_waiting=5, patience_seconds=2.0)
    now, count, in_flight = 0.0, 0, []
    answered: list[int] = []
    for action, number, source in steps:
        now += 0.25
        if action == "submit":
            answered += flights.submit(question(str(number), source), count, now)
            count += 1
        elif action == "next" and (found := flights.next(now)) is not None:
            in_flight.append(found)
        elif action == "answer" and in_flight:
            answered += flights.answered(in_flight.pop(0))
        elif action == "fail" and in_flight:
            answered += flights.failed(in_flight.pop(0), now, None)
        elif action == "tick":
            answered += flights.impatient(now)
        assert flights.asked == len(in_flight) <= 3
        assert 0 <= flights.waiting <= 5
    answered += [w for each in in_flight for w in flights.answered(each)]
    answered += flights.impatient(now + 10)
    assert sorted(answered) == list(range(count))
    assert (flights.asked, flights.waiting) == (0, 0)
    assert flights.next(now + 1000) is None
