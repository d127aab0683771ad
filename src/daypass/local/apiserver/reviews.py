"""TokenRequest, and the reviews of tokens and of access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import Cause, invalid_value, quote
from daypass.local.apiserver.kinds import (
    AUTHORIZATION,
    SECRET,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REQUEST,
    TOKEN_REVIEW,
)
from daypass.local.apiserver.rbac import Attributes, User, authorize
from daypass.local.apiserver.requests import ApiCall, ApiResponse, rfc3339
from daypass.local.apiserver.store import Object
from daypass.local.apiserver.tokens import InvalidTokenError
from daypass.local.apiserver.validation import path_segment_fault
from daypass.local.apiserver.writing import require_namespace

DEFAULT_SECONDS = 3600
SHORTEST_SECONDS, LONGEST_SECONDS = 600, 2**32


def create_token(call: ApiCall) -> ApiResponse:
    """Issue a token for a ServiceAccount; with `dryRun` too.

    The order is that of kubernetes/pkg/registry/core/serviceaccount/storage/token.go.
    """
    context = call.context
    # 1. The body.
    call.check_options("CreateOptions")
    request = call.decode(TOKEN_REQUEST)
    spec: dict[str, Any] = {"expirationSeconds": DEFAULT_SECONDS, **request.get("spec", {})}
    # 2. The namespace and the ServiceAccount.
    require_namespace(context, call.namespace)
    _check_name(request["metadata"].get("name"), call.name)
    account = call.live()
    _check_uid(request["metadata"].get("uid"), account)
    # 3. Audiences and lifetime.
    spec["audiences"] = spec.get("audiences") or list(context.settings.audiences)
    _check_lifetime(spec["expirationSeconds"])
    # 4. The Secret that the token is bound to.
    secret = _bound_secret(call, spec.get("boundObjectRef"))
    # 5. The longest lifetime of this server.
    longest = context.settings.max_expiration_seconds
    if spec["expirationSeconds"] > longest:
        call.warnings.append(
            f"requested expiration of {spec['expirationSeconds']} seconds shortened to "
            f"{longest} seconds"
        )
        spec["expirationSeconds"] = longest
    # 6. The token.
    seconds, now = spec["expirationSeconds"], context.clock.unix()
    token = context.issuer.issue(account, spec["audiences"], seconds, secret)
    known = {key: account["metadata"][key] for key in ("name", "namespace", "uid")}
    response = {
        "kind": TOKEN_REQUEST.kind,
        "apiVersion": TOKEN_REQUEST.api_version,
        "metadata": {**request["metadata"], **known, "creationTimestamp": rfc3339(now)},
        "spec": {"boundObjectRef": None, **spec},
        "status": {"token": token, "expirationTimestamp": rfc3339(now + seconds)},
    }
    return ApiResponse.of(response, 201)


def _invalid(name: str, cause: Cause) -> errors.StatusError:
    return errors.invalid(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, name, [cause])


def _check_name(sent: str | None, name: str) -> None:
    if sent and sent != name:
        why = "must match the service account name if specified"
        raise _invalid(name, invalid_value("metadata.name", sent, why))


def _check_uid(sent: str | None, account: Object) -> None:
    metadata = account["metadata"]
    if sent and sent != metadata["uid"]:
        why = (
            f"the UID in the token request ({sent}) does not match the UID of the service account "
            f"({metadata['uid']})"
        )
        raise errors.conflict(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, metadata["name"], why)


def _check_lifetime(seconds: int) -> None:
    if seconds < SHORTEST_SECONDS:
        why = "may not specify a duration less than 10 minutes"
        raise _invalid("", invalid_value("spec.expirationSeconds", seconds, why))
    if seconds > LONGEST_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
        raise _invalid("", invalid_value("spec.expirationSeconds", seconds, why))


def _bound_secret(call: ApiCall, reference: dict[str, str] | None) -> Object | None:
    """Return the Secret that a token is to be bound to. The caller needs no right to read it."""
    if reference is None:
        return None
    version, kind, name = (reference.get(key, "") for key in ("apiVersion", "kind", "name"))
    group, _, short = version.rpartition("/")
    if "/" in group:  # Go ignores a version that it cannot parse
        group = short = ""
    if (group, kind) != ("", SECRET.kind):
        shown = f"{group}/{short}, Kind={kind}"
        raise errors.bad_request(f"cannot bind token to object of type {shown}")
    if not name:
        raise errors.bad_request("Name parameter required.")
    if fault := path_segment_fault(name):
        raise errors.bad_request(f"Name parameter invalid: {quote(name)}: {fault}")
    secret = call.context.store.get(SECRET, call.namespace, name)
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
    """Answer a review."""
    obj = call.decode()
    call.check_options("CreateOptions")
    metadata = {"creationTimestamp": call.context.now()}
    status = _ANSWERS[call.kind.kind](call, obj.get("spec", {}))
    return ApiResponse.of(
        {**obj, "metadata": {**obj["metadata"], **metadata}, "status": status}, 201
    )


def _review_token(call: ApiCall, spec: Object) -> Object:
    token = spec.get("token", "")
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    wanted = tuple(spec.get("audiences") or call.context.settings.audiences)
    try:
        # As in kube-apiserver: the token is read as if it came in a header.
        found, _ = call.context.authenticator.authenticate(f"Bearer {token}", wanted)
    except InvalidTokenError as error:
        return {"user": {}, "error": str(error)}
    if found is None:
        return {"user": {}}
    user, audiences = found
    return {"authenticated": True, "user": user.document(), "audiences": audiences}


def _review_self(call: ApiCall, spec: Object) -> Object:
    return {"userInfo": call.user.document()}


def _review_own_access(call: ApiCall, spec: Object) -> Object:
    _refuse(_attribute_causes(spec))
    return _decide(call, call.user, spec)


def _review_access(call: ApiCall, spec: Object) -> Object:
    causes = _attribute_causes(spec)
    if not spec.get("user") and not spec.get("groups"):
        why = "at least one of user or group must be specified"
        causes.append(invalid_value("spec.user", "", why))
    _refuse(causes)
    user = User(
        name=spec.get("user", ""), uid=spec.get("uid", ""), groups=tuple(spec.get("groups", ()))
    )
    return _decide(call, user, spec)


def _attribute_causes(spec: Object) -> list[Cause]:
    if ("resourceAttributes" in spec) != ("nonResourceAttributes" in spec):
        return []
    why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    return [invalid_value("spec", None, why)]


def _refuse(causes: list[Cause]) -> None:
    if causes:
        raise errors.invalid(AUTHORIZATION, "", "", causes)


def _decide(call: ApiCall, user: User, spec: Object) -> Object:
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        attributes = Attributes(
            user=user, verb=path.get("verb", ""), path=path.get("path", ""), is_resource=False
        )
    else:
        keys = ("verb", "group", "resource", "subresource", "namespace", "name")
        attributes = Attributes(user=user, **{key: asked.get(key, "") for key in keys})
    decision = authorize(call.context.store, attributes)
    reason = {"reason": decision.reason} if decision.reason else {}
    return {"allowed": decision.allowed, **reason}


_ANSWERS: dict[str, Callable[[ApiCall, Object], Object]] = {
    TOKEN_REVIEW.kind: _review_token,
    SELF_SUBJECT_REVIEW.kind: _review_self,
    SELF_SUBJECT_ACCESS_REVIEW.kind: _review_own_access,
    SUBJECT_ACCESS_REVIEW.kind: _review_access,
}
