"""An API server whose TokenReviews lie, fail, hang or come late: the same for every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daypass.rules.reasons import REASON_HEADER, Reason
from support.deadline import eventually
from support.fake_reviews import FakeReviews
from support.raw import Answer

LIES: dict[str, tuple[dict[str, Any], Reason]] = {
    "another user": (
        {"user": {"username": "system:serviceaccount:team:other"}}, Reason.REVIEW_REFUSED
    ),
    "nobody": ({"user": {}}, Reason.REVIEW_REFUSED),
    "not authenticated": ({"authenticated": False}, Reason.REVIEW_REFUSED),
    "another audience": ({"audiences": ["other.example.com"]}, Reason.REVIEW_AUDIENCE),
    "no audience": ({"audiences": None}, Reason.REVIEW_AUDIENCE),
}  # fmt: skip
FAILURES = (302, 403, 404, 429, 500, 503)


def assert_no_review_opens(reviews: FakeReviews, send: Callable[[], Answer]) -> None:
    """`send`: a request with a good token that was never sent before."""

    def passes_again() -> None:
        eventually("it passes again", lambda: send().code == 200)

    def is_unknown(answer: Answer) -> bool:
        found = (answer.code, answer.headers.get(REASON_HEADER))
        return found == (503, Reason.UNKNOWN) and "retry-after" in answer.headers

    passes_again()
    for name, (lie, reason) in LIES.items():
        reviews.lie = lie
        answer = send()
        assert answer.headers.get(REASON_HEADER) == reason, (name, answer)
        assert answer.code in (401, 403), (name, answer)
    reviews.lie = {}
    passes_again()
    for code in FAILURES:
        reviews.failing = (code, "1")
        answer = send()
        assert is_unknown(answer), (code, answer)
        reviews.failing = None
        passes_again()
    reviews.held.clear()
    asked = len(reviews.asked)
    assert is_unknown(send())
    assert len(reviews.asked) == asked + 1
    reviews.held.set()
    passes_again()
    reviews.down()
    assert is_unknown(send())
    reviews.up()
    passes_again()
