"""SubjectAccessReviews of the authorizer: whether a caller may use a model."""

from __future__ import annotations

import json

from daypass.gate.authorizer.review_client import UNREADABLE, ReviewClient, ReviewFailure
from daypass.kube.access_review import PATH, access_review, is_allowed
from daypass.rules.claims import CallerIdentity
from daypass.rules.models import Access

KIND = "SubjectAccessReviews"


async def review_access(
    client: ReviewClient, identity: CallerIdentity, access: Access
) -> bool | ReviewFailure:
    """Return whether the API server allows an access."""
    body = json.dumps(access_review(identity, access)).encode()
    answer = await client.create(KIND, PATH, body)
    return answer if isinstance(answer, ReviewFailure) else read_review(answer)


def read_review(body: bytes) -> bool | ReviewFailure:
    """Return the result in an answer."""
    try:
        result = is_allowed(json.loads(body))
    except UNREADABLE:
        result = None
    if result is None:
        return ReviewFailure(why="the API server's response is not a SubjectAccessReview")
    return result
