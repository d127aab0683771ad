"""What is done with an authorized request: objects are read and changed, tokens are issued, and
reviews are answered.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daypass._core.clock import rfc3339, utc
from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import (
    LONGEST_TOKEN_SECONDS,
    RBAC_GROUP,
    SHORTEST_TOKEN_SECONDS,
)
from daypass.local.apiserver.kinds import (
    CLUSTER_ROLE_BINDING,
    DELETE_OPTIONS,
    NAMESPACE,
    ROLE_BINDING,
    SECRET,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REQUEST,
    TOKEN_REVIEW,
    Kind,
)
from daypass.local.apiserver.rbac import Attributes, User, is_allowed
from daypass.local.apiserver.requests import (
    ApiCall,
    ApiResponse,
    StatusError,
    conflict,
    invalid,
    not_found,
    quote,
    unsupported_media_type,
)
from daypass.local.apiserver.store import Store, StoreEvent
from daypass.local.apiserver.tokens import ISSUER, InvalidTokenError

DEFAULT_SECONDS = 3600
GRANTED_SECONDS = 24 * 3600
"""The longest lifetime that a token gets; requests for more are shortened to it."""
HOUR = 3600
"""Seconds: the longest watch, and the default."""
MERGE_PATCH, APPLY_PATCH = "application/merge-patch+json", "application/apply-patch+yaml"
_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def get(call: ApiCall) -> ApiResponse:
    """Return one object, or its metadata."""
    return ApiResponse.of(_shown(call, call.live()))


def _shown(call: ApiCall, obj: Object) -> Object:
    return {**_PARTIAL, "metadata": obj["metadata"]} if call.request.wants_metadata else obj


def list_or_watch(call: ApiCall) -> ApiResponse | Watch:
    """Return all objects of a kind that the selectors select, or a watch of them."""
    labels = _requirements(call.request.parameter("labelSelector"))
    fields = _requirements(call.request.parameter("fieldSelector"))

    def selected(obj: Object) -> bool:
        have = obj["metadata"].get("labels", {})
        return all((have.get(key) == value) is wanted for key, wanted, value in labels) and all(
            (_field(obj, path) == value) is wanted for path, wanted, value in fields
        )

    if call.request.is_watch:
        return _watch(call, selected)
    store, kind = call.state.store, call.kind
    head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version}
    if call.request.wants_metadata:
        head = {**_PARTIAL, "kind": "PartialObjectMetadataList"}
    found = [obj for obj in store.find_all(kind, call.namespace) if selected(obj)]
    metadata = {"resourceVersion": str(store.version)}
    return ApiResponse.of(
        {**head, "metadata": metadata, "items": [_shown(call, obj) for obj in found]}
    )


def _requirements(text: str) -> list[tuple[str, bool, str]]:
    """Return each key of a selector, whether it must have the value, and the value."""
    found_requirements = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^\s=!(),]+)(==?|!=)([^\s=!(),]*)", part)
        if found is None:
            raise StatusError(400, f"unable to parse requirement: {quote(part[:300])}")
        found_requirements.append((found[1], found[2] != "!=", found[3]))
    return found_requirements


def _field(obj: Object, path: str) -> Any:
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A response that goes on: `first` now, then what `show` returns for each event of the store,
    unless that is None.
    """

    store: Store
    first: list[Object]
    seconds: int
    show: Callable[[StoreEvent], Object | None]


def _watch(call: ApiCall, selected: Callable[[Object], bool]) -> Watch:
    store, kind, namespace = call.state.store, call.kind, call.namespace

    def sent(change: str, obj: Object) -> Object:
        return {"type": change, "object": _shown(call, obj)}

    def show(event: StoreEvent) -> Object | None:
        obj = event.object
        if event.kind is not kind or namespace not in ("", obj["metadata"].get("namespace", "")):
            return None
        now, before = selected(obj), event.before is not None and selected(event.before)
        if event.type == "DELETED" or not now:
            return sent("DELETED", obj) if before else None
        return sent("MODIFIED" if before else "ADDED", obj)

    since, seconds = call.request.number("resourceVersion"), call.request.number("timeoutSeconds")
    if not since:
        first = [sent("ADDED", obj) for obj in store.find_all(kind, namespace) if selected(obj)]
    elif since < store.forgotten:
        gone = StatusError(410, f"too old resource version: {since}")
        first = [{"type": "ERROR", "object": gone.status}]
    else:
        shown = [show(event) for event in store.events if event.version > since]
        first = [event for event in shown if event is not None]
    return Watch(store=store, first=first, show=show, seconds=min(seconds or HOUR, HOUR))


def create(call: ApiCall) -> ApiResponse:
    return _create(call, call.decode(call.kind))


def _create(call: ApiCall, obj: Object) -> ApiResponse:
    state, kind = call.state, call.kind
    if kind.is_namespaced:
        _require_namespace(call)
    obj = _complete(kind, obj)
    name = obj["metadata"]["name"]
    if state.store.get(kind, call.namespace, name) is not None:
        why = f"{kind.resource} {quote(name)} already exists"
        raise StatusError(409, why, "AlreadyExists")
    return _stored(call, state.with_identity(obj), 201)


def _stored(call: ApiCall, obj: Object, status: int) -> ApiResponse:
    """Store an object, except in a dry run, and return it."""
    return ApiResponse.of(obj if call.is_dry_run else call.state.store.put(call.kind, obj), status)


def _require_namespace(call: ApiCall) -> None:
    """Raise the 404 if the namespace of a call does not exist."""
    if call.state.store.get(NAMESPACE, "", call.namespace) is None:
        raise not_found(NAMESPACE, call.namespace)


def _complete(kind: Kind, obj: Object) -> Object:
    """Return an object with the defaults of its kind. Raises the 422 if it cannot be used."""
    name = obj["metadata"].get("name", "")
    if not kind.is_name(name):
        why = "a lowercase RFC 1123 subdomain must consist of a-z, 0-9, '-' or '.'"
        raise invalid(kind, name, "metadata.name", f"Invalid value: {quote(name)}: {why}")
    if kind is NAMESPACE:
        labels = {"kubernetes.io/metadata.name": name, **obj["metadata"].get("labels", {})}
        return {**obj, "metadata": {**obj["metadata"], "labels": labels}}
    if kind is SECRET:
        plain = {
            key: base64.b64encode(text.encode()).decode()
            for key, text in obj.get("stringData", {}).items()
        }
        rest = {key: value for key, value in obj.items() if key != "stringData"}
        return {"type": "Opaque", **rest, "data": {**obj.get("data", {}), **plain}}
    if kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        role = {"apiGroup": RBAC_GROUP, **obj.get("roleRef", {})}
        if not (role.get("kind") and role.get("name")):
            raise invalid(kind, name, "roleRef", "Required value: kind and name")
        return {**obj, "roleRef": role}
    return obj


def patch(call: ApiCall) -> ApiResponse:
    """Change an object by a merge patch (RFC 7396), or create or change it by an apply.

    An apply also removes the fields that the last apply has set, and this one has not.
    """
    media, kind = call.request.media_type, call.kind
    if media not in (MERGE_PATCH, APPLY_PATCH):
        raise unsupported_media_type(f"{MERGE_PATCH}, {APPLY_PATCH}")
    live = call.state.store.get(kind, call.namespace, call.name)
    if live is None and media == MERGE_PATCH:
        raise not_found(kind, call.name)
    change, before = call.parse(), live or {}
    managed = before.get("metadata", {}).get("managedFields", [])
    if media == APPLY_PATCH:
        fields = _fields(change)
        for each in managed:
            before = _without(before, each["fieldsV1"], fields)
        managed = [{"operation": "Apply", "fieldsV1": fields}]
    obj = call.convert(merge(before, change), kind)
    obj["metadata"]["managedFields"] = managed
    name = obj["metadata"].get("name", "")
    if name != call.name:
        raise StatusError(
            400,
            f"the name of the object ({name}) does not match the name on the URL ({call.name})",
        )
    return _create(call, obj) if live is None else _replace(call, live, obj)


def merge(target: Any, change: Any) -> Any:
    """Return `target` after a merge patch; neither argument is changed."""
    if not isinstance(change, dict):
        return change
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _fields(value: Any) -> Object:
    """Return the names of the fields that an object sets, as a tree."""
    return {key: _fields(each) for key, each in value.items()} if isinstance(value, dict) else {}


def _without(obj: Object, fields: Object, kept: Object) -> Object:
    """Return an object without these fields, except those that are in `kept`, too."""
    left = dict(obj)
    for key, below in fields.items():
        if key not in kept:
            left.pop(key, None)
        elif isinstance(inner := left.get(key), dict):
            left[key] = _without(inner, below, kept[key])
    return left


def _replace(call: ApiCall, live: Object, obj: Object) -> ApiResponse:
    kind, known, sent = call.kind, live["metadata"], obj["metadata"]
    if sent.get("uid", known["uid"]) != known["uid"]:
        why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: "
        raise conflict(kind.resource, call.name, why + known["uid"])
    if sent.get("resourceVersion", known["resourceVersion"]) != known["resourceVersion"]:
        raise conflict(kind.resource, call.name, MODIFIED)
    kept = {key: known[key] for key in ("uid", "creationTimestamp", "resourceVersion")}
    return _stored(call, _complete(kind, {**obj, "metadata": {**sent, **kept}}), 200)


def delete(call: ApiCall) -> ApiResponse:
    """Delete an object, if it is the one that the preconditions name."""
    options = call.decode(DELETE_OPTIONS) if call.request.body else {}
    live, kind = call.live(), call.kind
    for key, wanted in options.get("preconditions", {}).items():
        if wanted != live["metadata"].get(key):
            why = f"Precondition failed: the object has another {key}"
            raise conflict(kind.resource, call.name, why)
    if not (call.is_dry_run or options.get("dryRun")):
        call.state.store.remove(kind, live)
    return ApiResponse.of({"kind": "Status", "apiVersion": "v1", "status": "Success"})


def create_token(call: ApiCall) -> ApiResponse:
    """Issue a token for a ServiceAccount; with `dryRun` too.

    The order is that of kubernetes/pkg/registry/core/serviceaccount/storage/token.go.
    """
    state = call.state
    # 1. The body.
    request = call.decode(TOKEN_REQUEST)
    spec: dict[str, Any] = {"expirationSeconds": DEFAULT_SECONDS, **request.get("spec", {})}
    # 2. The namespace and the ServiceAccount.
    _require_namespace(call)
    account = call.live()
    # 3. Audiences and lifetime.
    spec["audiences"] = spec.get("audiences") or [ISSUER]
    _check_lifetime(spec["expirationSeconds"])
    # 4. The Secret that the token is bound to.
    secret = _bound_secret(call, spec.get("boundObjectRef"))
    # 5. The longest lifetime of this server.
    seconds = min(spec["expirationSeconds"], GRANTED_SECONDS)
    # 6. The token.
    now = state.clock.unix()
    token = state.issuer.issue(account, spec["audiences"], seconds, secret)
    known = {key: account["metadata"][key] for key in ("name", "namespace", "uid")}
    granted = {
        "kind": TOKEN_REQUEST.kind,
        "apiVersion": TOKEN_REQUEST.api_version,
        "metadata": {**known, "creationTimestamp": rfc3339(utc(now))},
        "spec": {"boundObjectRef": None, **spec, "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": rfc3339(utc(now + seconds))},
    }
    return ApiResponse.of(granted, 201)


def _check_lifetime(seconds: int) -> None:
    why = ""
    if seconds < SHORTEST_TOKEN_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > LONGEST_TOKEN_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        why = f"Invalid value: {seconds}: {why}"
        raise invalid(TOKEN_REQUEST, "", "spec.expirationSeconds", why)


def _bound_secret(call: ApiCall, reference: dict[str, str] | None) -> Object | None:
    """Return the Secret that a token is to be bound to. The caller needs no right to read it."""
    if reference is None:
        return None
    version, kind, name = (reference.get(key, "") for key in ("apiVersion", "kind", "name"))
    if (version, kind) != (SECRET.api_version, SECRET.kind):
        shown = f"/{version}, Kind={kind}"
        raise StatusError(400, f"cannot bind token to object of type {shown}")
    if not name:
        raise StatusError(400, "Name parameter required.")
    secret = call.state.store.get(SECRET, call.namespace, name)
    if secret is None:
        raise not_found(SECRET, name)
    uid = reference.get("uid")
    if uid and uid != secret["metadata"]["uid"]:
        why = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise conflict(kind, name, why)
    return secret


def review_token(call: ApiCall) -> ApiResponse:
    """Return whose token it is, and for which of the wanted audiences."""
    review = call.decode(TOKEN_REVIEW)
    spec = review.get("spec", {})
    if not spec.get("token"):
        raise StatusError(400, "token is required for TokenReview in authentication")
    wanted = tuple(spec.get("audiences", ())) or (ISSUER,)
    try:
        # As in kube-apiserver: the token is read as if it came in a header.
        user, audiences = call.state.authenticator.authenticate(f"Bearer {spec['token']}", wanted)
    except InvalidTokenError as error:
        status: Object = {"user": {}, "error": str(error)}
    else:
        status = {"authenticated": True, "user": user.document(), "audiences": audiences}
    return ApiResponse.of({**review, "status": status}, 201)


def review_access(call: ApiCall) -> ApiResponse:
    """Return whether a user may do something."""
    review = call.decode(SUBJECT_ACCESS_REVIEW)
    spec = review.get("spec", {})
    asked: Object = spec.get("resourceAttributes") or spec.get("nonResourceAttributes") or {}
    keys = ("verb", "group", "resource", "subresource", "namespace", "name", "path")
    user = User(name=spec.get("user", ""), groups=tuple(spec.get("groups", ())))
    attributes = Attributes(user=user, **{key: asked.get(key, "") for key in keys})
    status = {"allowed": is_allowed(call.state.store, attributes)}
    return ApiResponse.of({**review, "status": status}, 201)
