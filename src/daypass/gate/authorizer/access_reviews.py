"""SubjectAccessReviews: whether a user may use a model.

What is asked is what RBAC reads: user, groups, and the object (k8s.io/api/authorization/v1). The
user's UID and extra fields are left out, since they differ between the tokens of one user.
"""

from __future__ import annotations

import json

from daypass.gate.authorizer.review_client import UNREADABLE, ReviewClient, ReviewFailure
from daypass.rules.claims import CallerIdentity
from daypass.rules.models import Access

KIND = "SubjectAccessReviews"
PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def review_access(
    client: ReviewClient, identity: CallerIdentity, access: Access
) -> bool | ReviewFailure:
    """Return whether the API server allows an access."""
    answer = await client.create(KIND, PATH, body_for(identity, access))
    return answer if isinstance(answer, ReviewFailure) else read_review(answer)


def body_for(identity: CallerIdentity, access: Access) -> bytes:
    """Return the request's body."""
    resource, namespace, name = access.model
    plural, _, group = resource.partition(".")
    attributes = {"group": group, "version": "*", "resource": plural, "verb": access.verb,
                  "namespace": namespace, "name": name}  # fmt: skip
    spec = {"user": identity.user, "groups": identity.groups, "resourceAttributes": attributes}
    version, kind = "authorization.k8s.io/v1", "SubjectAccessReview"
    return json.dumps({"apiVersion": version, "kind": kind, "spec": spec}).encode()


def read_review(body: bytes) -> bool | ReviewFailure:
    """Return the result in an answer. `denied` takes precedence over `allowed`. An
    `evaluationError` may come with either (k8s.io/api/authorization/v1/types.go).
    """
    try:
        status = json.loads(body)["status"]
        allowed, denied = status["allowed"], status.get("denied", False)
    except UNREADABLE:
        allowed = denied = None
    if not isinstance(allowed, bool) or not isinstance(denied, bool):
        return ReviewFailure(why="the API server's response is not a SubjectAccessReview")
    return allowed and not denied
