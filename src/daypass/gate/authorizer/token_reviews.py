"""TokenReviews: whether the API server accepts a token, and for which audiences.

A refused token is a 201 too, with `status.error`; the caller checks which audiences hold
(k8s.io/api/authentication/v1).
"""

from __future__ import annotations

import json
from functools import lru_cache

from daypass._core.secret import Secret
from daypass.gate.authorizer.review_client import UNREADABLE, ReviewClient, ReviewFailure
from daypass.rules.decision import Review

KIND = "TokenReviews"
PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
LIMIT_AUDIENCES = 100


async def review_token(client: ReviewClient, token: str, audience: str) -> Review | ReviewFailure:
    """Return the API server's result for a token. `audience`: for what it is asked."""
    before, after = body_for(audience)
    body = b"".join((before, token.encode(), after))
    answer = await client.create(KIND, PATH, body, Secret(token))
    return answer if isinstance(answer, ReviewFailure) else read_review(answer)


@lru_cache(maxsize=100)
def body_for(audience: str) -> tuple[bytes, bytes]:
    """Return the request's body before and after the token, which JSON need not escape."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"audiences": [audience], "token": ""},
    }
    before, quote, after = json.dumps(review).encode().rpartition(b'"')
    return before, quote + after


def read_review(body: bytes) -> Review | ReviewFailure:
    """Return the result in an answer."""
    try:
        status = json.loads(body)["status"]
        user = status.get("user") or {}
        audiences = status.get("audiences") or []
        review = Review(
            authenticated=status.get("authenticated") is True,
            user=str(user.get("username", "")),
            audiences=tuple(str(each) for each in audiences[:LIMIT_AUDIENCES]),
        )
    except UNREADABLE:
        return ReviewFailure(why="the API server's response is not a TokenReview")
    return review
