"""The kinds that are questions: who is this, what may they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daypass.local.apiserver import errors, managed_fields
from daypass.local.apiserver.call import Call
from daypass.local.apiserver.errors import Cause, invalid_value, quote
from daypass.local.apiserver.kinds import (
    AUTHORIZATION,
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REVIEW,
)
from daypass.local.apiserver.rbac import Attributes, authorize
from daypass.local.apiserver.requests import ApiResponse
from daypass.local.apiserver.store import Object
from daypass.local.apiserver.tokens import InvalidTokenError
from daypass.local.apiserver.users import User


def create(call: Call) -> ApiResponse:
    """Answer a review."""
    obj = call.decode()
    call.check_options("CreateOptions")
    obj = call.placed(obj)
    if call.kind is SELF_SUBJECT_REVIEW:
        obj["metadata"] = {"creationTimestamp": call.cluster.now()}
    else:
        obj = managed_fields.created(obj, call.manager, call.cluster.now())
    status = _ANSWERS[call.kind.kind](call, obj)
    return ApiResponse.of({**obj, "status": status}, 201, call.warnings)


def _token_review(call: Call, obj: Object) -> Object:
    """What the API server would make of a token, in a header of its own."""
    spec = obj.get("spec", {})
    token = spec.get("token", "")
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    wanted = tuple(spec.get("audiences") or call.cluster.settings.audiences)
    try:
        found, _ = call.cluster.authenticator.authenticate(f"Bearer {token}", wanted)
    except InvalidTokenError as error:
        return {"user": {}, "error": str(error)}
    if found is None:
        return {"user": {}}
    user, audiences = found
    return {"authenticated": True, "user": user.document(), "audiences": audiences}


def _self(call: Call, obj: Object) -> Object:
    return {"userInfo": call.user.document()}


def _self_access(call: Call, obj: Object) -> Object:
    spec = obj.get("spec", {})
    _refuse([*_one_of(spec)])
    return _decided(call, call.user, spec)


def _access(call: Call, obj: Object) -> Object:
    spec = obj.get("spec", {})
    causes = _one_of(spec)
    if not spec.get("user") and not spec.get("groups"):
        why = "at least one of user or group must be specified"
        causes.append(invalid_value("spec.user", quote(""), why))
    _refuse(causes)
    user = User(
        name=spec.get("user", ""), uid=spec.get("uid", ""), groups=tuple(spec.get("groups", ()))
    )
    return _decided(call, user, spec)


def _local_access(call: Call, obj: Object) -> Object:
    asked = obj.get("spec", {}).get("resourceAttributes", {})
    if asked and asked.get("namespace") != call.namespace:
        shown = quote(asked.get("namespace", ""))
        field, why = "spec.resourceAttributes.namespace", "must match metadata.namespace"
        _refuse([invalid_value(field, shown, why)])
    return _access(call, obj)


def _one_of(spec: dict[str, Any]) -> list[Cause]:
    if ("resourceAttributes" in spec) != ("nonResourceAttributes" in spec):
        return []
    why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    return [invalid_value("spec", "null", why)]


def _refuse(causes: list[Cause]) -> None:
    if causes:
        raise errors.invalid(AUTHORIZATION, "", "", causes)


def _decided(call: Call, user: User, spec: dict[str, Any]) -> Object:
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        attributes = Attributes(
            user=user, verb=path.get("verb", ""), path=path.get("path", ""), is_resource=False
        )
    else:
        keys = ("verb", "group", "resource", "subresource", "namespace", "name")
        attributes = Attributes(user=user, **{key: asked.get(key, "") for key in keys})
    decision = authorize(call.cluster.store, attributes)
    reason = {"reason": decision.reason} if decision.reason else {}
    return {"allowed": decision.allowed, **reason}


_ANSWERS: dict[str, Callable[[Call, Object], Object]] = {
    TOKEN_REVIEW.kind: _token_review,
    SELF_SUBJECT_REVIEW.kind: _self,
    SELF_SUBJECT_ACCESS_REVIEW.kind: _self_access,
    SUBJECT_ACCESS_REVIEW.kind: _access,
    LOCAL_SUBJECT_ACCESS_REVIEW.kind: _local_access,
}
