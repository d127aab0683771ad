"""TokenRequest, and the reviews of tokens and of access."""

from __future__ import annotations

from typing import Any

from daypass._core.clock import rfc3339, utc
from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import LONGEST_TOKEN_SECONDS, SHORTEST_TOKEN_SECONDS
from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import Cause, invalid_value, quote
from daypass.local.apiserver.kinds import (
    AUTHORIZATION,
    SECRET,
    SELF_SUBJECT_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REQUEST,
    TOKEN_REVIEW,
)
from daypass.local.apiserver.objects import require_namespace
from daypass.local.apiserver.rbac import Attributes, User, is_allowed
from daypass.local.apiserver.requests import ApiCall, ApiResponse
from daypass.local.apiserver.schema import path_segment_fault
from daypass.local.apiserver.tokens import ISSUER, InvalidTokenError

DEFAULT_SECONDS = 3600
GRANTED_SECONDS = 24 * 3600
"""The longest lifetime that a token gets; requests for more are shortened to it."""


def create_token(call: ApiCall) -> ApiResponse:
    """Issue a token for a ServiceAccount; with `dryRun` too.

    The order is that of kubernetes/pkg/registry/core/serviceaccount/storage/token.go.
    """
    state = call.state
    # 1. The body.
    request = call.decode(TOKEN_REQUEST)
    spec: dict[str, Any] = {"expirationSeconds": DEFAULT_SECONDS, **request.get("spec", {})}
    # 2. The namespace and the ServiceAccount.
    require_namespace(call)
    account = call.live()
    # 3. Audiences and lifetime.
    spec["audiences"] = spec.get("audiences") or [ISSUER]
    _check_lifetime(spec["expirationSeconds"])
    # 4. The Secret that the token is bound to.
    secret = _bound_secret(call, spec.get("boundObjectRef"))
    # 5. The longest lifetime of this server.
    if spec["expirationSeconds"] > GRANTED_SECONDS:
        call.warnings.append(
            f"requested expiration of {spec['expirationSeconds']} seconds shortened to "
            f"{GRANTED_SECONDS} seconds"
        )
        spec["expirationSeconds"] = GRANTED_SECONDS
    # 6. The token.
    seconds, now = spec["expirationSeconds"], state.clock.unix()
    token = state.issuer.issue(account, spec["audiences"], seconds, secret)
    known = {key: account["metadata"][key] for key in ("name", "namespace", "uid")}
    response = {
        "kind": TOKEN_REQUEST.kind,
        "apiVersion": TOKEN_REQUEST.api_version,
        "metadata": {**request["metadata"], **known, "creationTimestamp": rfc3339(utc(now))},
        "spec": {"boundObjectRef": None, **spec},
        "status": {"token": token, "expirationTimestamp": rfc3339(utc(now + seconds))},
    }
    return ApiResponse.of(response, 201)


def _check_lifetime(seconds: int) -> None:
    why = ""
    if seconds < SHORTEST_TOKEN_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > LONGEST_TOKEN_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        cause = invalid_value("spec.expirationSeconds", seconds, why)
        raise errors.invalid(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, "", [cause])


def _bound_secret(call: ApiCall, reference: dict[str, str] | None) -> Object | None:
    """Return the Secret that a token is to be bound to. The caller needs no right to read it."""
    if reference is None:
        return None
    version, kind, name = (reference.get(key, "") for key in ("apiVersion", "kind", "name"))
    if (version, kind) != (SECRET.api_version, SECRET.kind):
        shown = f"/{version}, Kind={kind}"
        raise errors.bad_request(f"cannot bind token to object of type {shown}")
    if not name:
        raise errors.bad_request("Name parameter required.")
    if fault := path_segment_fault(name):
        raise errors.bad_request(f"Name parameter invalid: {quote(name)}: {fault}")
    secret = call.state.store.get(SECRET, call.namespace, name)
    if secret is None:
        raise errors.not_found("", SECRET.plural, name)
    uid = reference.get("uid")
    if uid and uid != secret["metadata"]["uid"]:
        why = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict("", kind, name, why)
    return secret


def create_review(call: ApiCall) -> ApiResponse:
    obj = call.decode()
    metadata = {**obj["metadata"], "creationTimestamp": call.state.now()}
    spec = obj.get("spec", {})
    if call.kind is TOKEN_REVIEW:
        status = _review_token(call, spec)
    elif call.kind is SELF_SUBJECT_REVIEW:
        status = {"userInfo": call.user.document()}
    else:
        status = _review_access(call, spec)
    return ApiResponse.of({**obj, "metadata": metadata, "status": status}, 201)


def _review_token(call: ApiCall, spec: Object) -> Object:
    token = spec.get("token", "")
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    wanted = tuple(spec.get("audiences") or [ISSUER])
    try:
        # As in kube-apiserver: the token is read as if it came in a header.
        user, audiences = call.state.authenticator.authenticate(f"Bearer {token}", wanted)
    except InvalidTokenError as error:
        return {"user": {}, "error": str(error)}
    return {"authenticated": True, "user": user.document(), "audiences": audiences}


def _review_access(call: ApiCall, spec: Object) -> Object:
    """Return whether the caller, or the user that is asked about, may do something."""
    resource, path, user = (
        spec.get("resourceAttributes"),
        spec.get("nonResourceAttributes"),
        call.user,
    )
    causes: list[Cause] = []
    if (resource is None) == (path is None):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(invalid_value("spec", None, why))
    if call.kind is SUBJECT_ACCESS_REVIEW:
        groups = tuple(spec.get("groups", ()))
        user = User(name=spec.get("user", ""), uid=spec.get("uid", ""), groups=groups)
        if not user.name and not groups:
            why = "at least one of user or group must be specified"
            causes.append(invalid_value("spec.user", "", why))
    if causes:
        raise errors.invalid(AUTHORIZATION, "", "", causes)
    asked: Object = resource or path or {}
    keys = ("verb", "group", "resource", "subresource", "namespace", "name", "path")
    attributes = Attributes(user=user, **{key: asked.get(key, "") for key in keys})
    return {"allowed": is_allowed(call.state.store, attributes)}
