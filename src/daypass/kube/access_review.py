"""SubjectAccessReview: what is asked about an access to a model, and what the answer says.

What is asked is what RBAC reads: user, groups, and the object (k8s.io/api/authorization/v1). The
user's UID and extra fields are left out, since they differ between the tokens of one user.
"""

from __future__ import annotations

from daypass._core.kubernetes.objects import Object
from daypass.rules.claims import CallerIdentity
from daypass.rules.models import Access

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def access_review(identity: CallerIdentity, access: Access) -> Object:
    """Return the object to create."""
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
