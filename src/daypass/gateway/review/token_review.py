"""TokenReview as bytes: the question, and what an answer says. Pure.

Source: k8s.io/api/authentication/v1. A refused token is a 201 as well, with `status.error`; which
audiences hold is the caller's to check.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from daypass._core.scrub import scrub_answer
from daypass._core.secret import Secret
from daypass._core.status import Status
from daypass.gateway.decision import Review

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
LIMIT_BYTES = 256 * 1024
LIMIT_AUDIENCES = 100
_ABOUT_TOKEN = (400, 413, 414, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """The API server did not say whether it takes the token. `why` is for people, and has none.

    `about_token`: it may be well, and not know what to make of this one.
    """

    why: str
    about_token: bool = False
    retry_after_seconds: float | None = None


def body_for(audience: str) -> tuple[bytes, bytes]:
    """The question's body, before and after the token, which needs no escaping in JSON."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"audiences": [audience], "token": ""},
    }
    before, quote, after = json.dumps(review).encode().rpartition(b'"')
    return before, quote + after


def read_answer(code: int, retry_after: str, body: bytes, *secrets: Secret) -> Review | Unanswered:
    """What came back. `retry_after`: that header, or "". `secrets`: what was sent."""
    if code not in (200, 201):
        return _failure(code, retry_after, scrub_answer(body, *secrets))
    try:
        status = json.loads(body)["status"]
        user = status.get("user") or {}
        audiences = status.get("audiences") or []
        review = Review(
            authenticated=status.get("authenticated") is True,
            user=str(user.get("username", "")),
            audiences=tuple(str(each) for each in audiences[:LIMIT_AUDIENCES]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Unanswered(why="the API server's answer is no TokenReview")
    return review


def _failure(code: int, retry_after: str, body: bytes) -> Unanswered:
    status = Status.parse(body)
    message = status.message if status is not None else ""
    if code in (401, 403):
        return Unanswered(
            why=f"the API server does not let the gate ask: {code} {message[:256]}; bind "
            "ClusterRole system:auth-delegator to its ServiceAccount"
        )
    seconds = _seconds(retry_after) if code in (429, 503) else None
    return Unanswered(
        why=f"the API server answered {code} {message[:256]}",
        retry_after_seconds=seconds,
        about_token=code in _ABOUT_TOKEN,
    )


def _seconds(text: str) -> float | None:
    # A date is allowed as well (RFC 9110, 10.2.3), and no API server sends one.
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
