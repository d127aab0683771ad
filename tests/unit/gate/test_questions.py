"""The review queue: one review per token, sources in turn, bounded waiting."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.authorizer.questions import FairQueue, Question
from daypass.gate.authorizer.served_gate import AuthzResponse
from daypass.gate.metrics import QuestionMetrics

Queue: TypeAlias = Any  # its waiters are texts here


def pending(name: str, source: str = "a") -> Question:
    async def ask(now: float) -> AuthzResponse:
        raise AssertionError

    return Question(key=name, source=source, ask=ask, metrics=QuestionMetrics())


def started(queue: Queue, now: float = 0.0) -> list[str]:
    found = []
    while (next_one := queue.next(now)) is not None:
        found.append(str(next_one.key))
    return found


def begun(queue: Queue, now: float) -> Any:
    """The next review, which begins."""
    found = queue.next(now)
    assert found is not None
    return found


def test_requests_with_one_token_share_one_review() -> None:
    queue: Queue = FairQueue()
    for waiter in "xyz":
        assert queue.submit(pending("t"), waiter, 0.0) == []
    first = begun(queue, 0.0)
    assert queue.next(0.0) is None
    assert queue.submit(pending("t"), "late", 0.0) == []
    assert queue.answered(first) == ["x", "y", "z", "late"]
    assert (queue.in_flight, queue.waiting) == (0, 0)


def test_sources_take_turns_however_many_requests_one_has() -> None:
    queue: Queue = FairQueue(limit_in_flight=5)
    for number in range(50):
        queue.submit(pending(f"flood-{number}", "flood"), "f", 0.0)
    queue.submit(pending("one", "quiet"), "q", 0.0)
    assert started(queue) == ["flood-0", "one", "flood-1"]


def test_a_source_whose_reviews_are_slow_leaves_as_many_for_others() -> None:
    queue: Queue = FairQueue(limit_in_flight=16)
    for number in range(50):
        queue.submit(pending(f"slow-{number}", "slow"), "s", 0.0)
    assert len(started(queue)) == 8
    for number in range(50):
        queue.submit(pending(f"other-{number}", "other"), "o", 0.0)
    found = started(queue)
    assert (len(found), {name[:5] for name in found}) == (4, {"other"})
    queue.submit(pending("third", "third"), None, 0.0)
    assert started(queue) == ["third"], "in the background, too"


def test_a_slow_review_stops_no_other_source() -> None:
    queue: Queue = FairQueue(limit_in_flight=2)
    queue.submit(pending("slow", "slow"), "s", 0.0)
    slow = begun(queue, 0.0)
    assert queue.finished(slow) == ["s"]
    queue.submit(pending("one", "quiet"), "q", 5.0)
    assert started(queue, 5.0) == ["one"]


def test_a_full_queue_rejects_the_last_request_of_the_longest_source() -> None:
    queue: Queue = FairQueue(limit_in_flight=1, limit_waiting=10)
    for number in range(10):
        assert queue.submit(pending(f"flood-{number}", "flood"), f"f{number}", 0.0) == []
    assert queue.submit(pending("flood-10", "flood"), "f10", 0.0) == ["f10"]
    assert queue.submit(pending("one", "quiet"), "q", 0.0) == ["f9"]
    assert queue.waiting == 10


def test_no_request_waits_beyond_its_timeout_and_a_retry_joins_the_review() -> None:
    queue: Queue = FairQueue(limit_in_flight=1, timeout_seconds=0.5)
    queue.submit(pending("slow"), "x", 0.0)
    queue.submit(pending("behind"), "y", 0.1)
    first = begun(queue, 0.1)
    assert queue.remove_expired(0.4) == []
    assert queue.remove_expired(0.5) == ["x"]
    assert queue.remove_expired(0.65) == ["y"]
    assert queue.waiting == 0, "no request waits for it, so no review starts"
    queue.submit(pending("slow"), "x again", 0.7)
    assert queue.answered(first) == ["x again"]


def test_after_a_failure_no_review_starts_for_a_while() -> None:
    queue: Queue = FairQueue()
    queue.submit(pending("t"), "x", 0.0)
    first = begun(queue, 0.0)
    assert queue.failed(first, 1.0, retry_after_seconds=7.0) == ["x"]
    assert queue.submit(pending("u", "another source"), "y", 1.5) == ["y"]
    assert queue.retry_after_seconds(1.5) == 7
    assert queue.submit(pending("u"), "y", 8.0) == []
    assert started(queue, 8.0) == ["u"]


def test_retry_after_of_the_api_server_is_passed_on_exactly() -> None:
    queue: Queue = FairQueue()
    assert queue.retry_after_seconds(1.3) == 1
    queue.submit(pending("t"), "x", 0.0)
    queue.failed(begun(queue, 0.0), 1.3, retry_after_seconds=7.0)
    assert queue.retry_after_seconds(1.3) == 7, "(1.3 + 7) - 1.3 is above 7 in floats"


@pytest.mark.parametrize(("retry_after", "until"), [(0.0, 1.5), (10.0**9, 60.0)])
def test_retry_after_from_the_api_server_is_bounded(retry_after: float, until: float) -> None:
    queue: Queue = FairQueue()
    queue.submit(pending("t"), "x", 0.0)
    first = begun(queue, 0.0)
    queue.failed(first, 1.0, retry_after_seconds=retry_after)
    assert queue.submit(pending("u"), "y", until) == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "next", "answer", "fail", "tick"]),
        st.integers(0, 12),
        st.sampled_from("abc"),
    ),
    max_size=120,
)


@given(steps=steps)
def test_every_request_is_answered_exactly_once(steps: list[tuple[str, int, str]]) -> None:
    queue: Any = FairQueue(limit_in_flight=3, limit_waiting=5, timeout_seconds=2.0)
    now, count, in_flight = 0.0, 0, []
    answered: list[int] = []
    for action, number, source in steps:
        now += 0.25
        if action == "submit":
            answered += queue.submit(pending(str(number), source), count, now)
            count += 1
        elif action == "next" and (found := queue.next(now)) is not None:
            in_flight.append(found)
        elif action == "answer" and in_flight:
            answered += queue.answered(in_flight.pop(0))
        elif action == "fail" and in_flight:
            answered += queue.failed(in_flight.pop(0), now, None)
        elif action == "tick":
            answered += queue.remove_expired(now)
        assert queue.in_flight == len(in_flight) <= 3
        assert 0 <= queue.waiting <= 5
    answered += [w for each in in_flight for w in queue.answered(each)]
    answered += queue.remove_expired(now + 10)
    assert sorted(answered) == list(range(count))
    assert (queue.in_flight, queue.waiting) == (0, 0)
    assert queue.next(now + 1000) is None
