"""What the authorizer asks the API server: whether it accepts a token, and for which audiences; and
whether a user may use a model.

A refused token is a 201 too, with `status.error`; the caller checks which audiences hold
(k8s.io/api/authentication/v1).
"""

from __future__ import annotations

import json
from functools import lru_cache

from daypass._core.secret import Secret
from daypass.gate.authorizer.review_client import ReviewClient, ReviewFailure
from daypass.kube import access_review
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import Review
from daypass.rules.models import Access

TOKEN_REVIEWS, ACCESS_REVIEWS = "TokenReviews", "SubjectAccessReviews"
TOKEN_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
LIMIT_AUDIENCES = 100
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading an answer raises that is no review."""


async def review_token(client: ReviewClient, token: str, audience: str) -> Review | ReviewFailure:
    """Return the API server's result for a token. `audience`: for what it is asked."""
    before, after = token_body(audience)
    body = b"".join((before, token.encode(), after))
    answer = await client.create(TOKEN_REVIEWS, TOKEN_PATH, body, Secret(token))
    return answer if isinstance(answer, ReviewFailure) else read_token_review(answer)


async def review_access(
    client: ReviewClient, identity: CallerIdentity, access: Access
) -> bool | ReviewFailure:
    """Return whether the API server allows an access."""
    body = json.dumps(access_review.access_review(identity, access)).encode()
    answer = await client.create(ACCESS_REVIEWS, access_review.PATH, body)
    return answer if isinstance(answer, ReviewFailure) else read_access_review(answer)


@lru_cache(maxsize=100)
def token_body(audience: str) -> tuple[bytes, bytes]:
    """Return the request's body before and after the token, which JSON need not escape."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"audiences": [audience], "token": ""},
    }
    before, quote, after = json.dumps(review).encode().rpartition(b'"')
    return before, quote + after


def read_token_review(body: bytes) -> Review | ReviewFailure:
    """Return the result in an answer."""
    try:
        status = json.loads(body)["status"]
        user = status.get("user") or {}
        audiences = status.get("audiences") or []
        return Review(
            authenticated=status.get("authenticated") is True,
            user=str(user.get("username", "")),
            audiences=tuple(str(each) for each in audiences[:LIMIT_AUDIENCES]),
        )
    except _UNREADABLE:
        return ReviewFailure(why="the API server's response is not a TokenReview")


def read_access_review(body: bytes) -> bool | ReviewFailure:
    """Return the result in an answer."""
    try:
        result = access_review.is_allowed(json.loads(body))
    except _UNREADABLE:
        result = None
    if result is None:
        return ReviewFailure(why="the API server's response is not a SubjectAccessReview")
    return result
