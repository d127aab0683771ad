"""What is asked of the API server, and what it answers: whether it accepts a token, and for which
audiences; and whether a user may use a model.

A refused token is an answer too, with `status.error`; the caller checks which audiences hold
(k8s.io/api/authentication/v1). About an access, it is asked what RBAC reads: user, groups, and the
object (k8s.io/api/authorization/v1). The user's UID and extra fields are left out, since they
differ between the tokens of one user.
"""

from __future__ import annotations

import json
from functools import lru_cache

from daypass._core.kubernetes.objects import Object
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import Review
from daypass.rules.models import Access

TOKEN_REVIEWS, ACCESS_REVIEWS = "TokenReviews", "SubjectAccessReviews"
TOKEN_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
LIMIT_AUDIENCES = 100
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading an answer raises that is no review."""


@lru_cache(maxsize=100)
def token_review(audience: str) -> tuple[bytes, bytes]:
    """Return the request's body before and after the token, which JSON need not escape."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"audiences": [audience], "token": ""},
    }
    before, quote, after = json.dumps(review).encode().rpartition(b'"')
    return before, quote + after


def access_review(identity: CallerIdentity, access: Access) -> Object:
    """Return the object to create, to ask about an access."""
    resource, namespace, name = access.model
    plural, _, group = resource.partition(".")
    attributes = {"group": group, "version": "*", "resource": plural, "verb": access.verb,
                  "namespace": namespace, "name": name}  # fmt: skip
    spec = {
        "user": identity.user,
        "groups": list(identity.groups),
        "resourceAttributes": attributes,
    }
    version, kind = "authorization.k8s.io/v1", "SubjectAccessReview"
    return {"apiVersion": version, "kind": kind, "spec": spec}


def read_token_review(body: bytes) -> Review | None:
    """Return the result in an answer; None if it is no TokenReview."""
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
        return None


def read_access_review(body: bytes) -> bool | None:
    """Return the result in an answer; None if it is no SubjectAccessReview."""
    try:
        return is_allowed(json.loads(body))
    except _UNREADABLE:
        return None


def is_allowed(answer: object) -> bool | None:
    """Return the result in an answer; None if it is no review. `denied` takes precedence over
    `allowed`. An `evaluationError` may come with either (k8s.io/api/authorization/v1/types.go).
    """
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict):
        return None
    allowed, denied = status.get("allowed"), status.get("denied", False)
    if not isinstance(allowed, bool) or not isinstance(denied, bool):
        return None
    return allowed and not denied
