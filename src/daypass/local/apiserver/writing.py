"""Create, update, patch, apply and delete.

Server-side apply is a merge that never conflicts: `managedFields` records what each manager has
applied, so that an apply removes what its manager no longer sends and no other manager has.
"""

from __future__ import annotations

import copy
from typing import Any

from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import required
from daypass.local.apiserver.kinds import DELETE_OPTIONS, NAMESPACE
from daypass.local.apiserver.requests import ApiCall, ApiResponse, ServerContext
from daypass.local.apiserver.schema import (
    APPLY_PATCH,
    JSON,
    MERGE_PATCH,
    YAML,
    ShapeError,
    parse,
    plain,
)
from daypass.local.apiserver.store import Object
from daypass.local.apiserver.validation import check, protected, with_defaults

_SET_BY_SERVER = ("uid", "creationTimestamp", "managedFields")
_APPLIED_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def create(call: ApiCall) -> ApiResponse:
    """Create an object."""
    obj = call.decode()
    call.check_options("CreateOptions")
    if obj["metadata"].get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    return _create(call, obj, managed=[])


def _create(call: ApiCall, obj: Object, *, managed: list[Object]) -> ApiResponse:
    context, kind = call.context, call.kind
    if kind.namespaced:
        require_namespace(context, call.namespace)
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _SET_BY_SERVER}
    obj = with_defaults(kind, {**obj, "metadata": metadata})
    check(kind, obj, None)
    if context.store.get(kind, call.namespace, metadata["name"]) is not None:
        raise errors.already_exists(kind.group, kind.plural, metadata["name"])
    if managed:
        obj["metadata"]["managedFields"] = managed
    obj = context.with_identity(obj)
    if not call.is_dry_run:
        obj = context.store.put(kind, obj)
    return ApiResponse.of(obj, 201)


def require_namespace(context: ServerContext, namespace: str) -> None:
    """Raise the 404 if a namespace does not exist."""
    if context.store.get(NAMESPACE, "", namespace) is None:
        raise errors.not_found("", "namespaces", namespace)


def update(call: ApiCall) -> ApiResponse:
    """Replace an object."""
    obj = call.decode()
    call.check_options("UpdateOptions")
    return _replace(call, call.live(), obj)


def _replace(
    call: ApiCall, live: Object, obj: Object, *, managed: list[Object] | None = None
) -> ApiResponse:
    context, kind, known, sent = call.context, call.kind, live["metadata"], obj["metadata"]
    _check_name(call, obj)
    if sent.get("uid", known["uid"]) != known["uid"]:
        why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: "
        raise errors.conflict(kind.group, kind.plural, call.name, why + known["uid"])
    if sent.get("resourceVersion", "") not in ("", "0", known["resourceVersion"]):
        raise errors.conflict(kind.group, kind.plural, call.name, MODIFIED)
    kept = {key: known[key] for key in (*_SET_BY_SERVER, "resourceVersion") if key in known}
    if managed is not None:
        kept["managedFields"] = managed
    obj = with_defaults(kind, {**obj, "metadata": {**sent, **kept}})
    check(kind, obj, live)
    if not call.is_dry_run:
        obj = context.store.put(kind, obj)
    return ApiResponse.of(obj)


def _check_name(call: ApiCall, obj: Object) -> None:
    name = obj["metadata"].get("name", "")
    if name != call.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )


def patch(call: ApiCall) -> ApiResponse:
    """Change an object by a merge patch (RFC 7396) or by server-side apply."""
    media = call.request.header("content-type").partition(";")[0].strip().lower()
    if media not in (MERGE_PATCH, APPLY_PATCH):
        raise errors.unsupported_media_type()
    call.check_options("PatchOptions")
    try:
        body = parse(call.request.body, JSON if media == MERGE_PATCH else YAML)
        change = plain(body)
    except ShapeError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None
    if media == APPLY_PATCH:
        return _apply(call, call.convert(body, call.kind))
    live = call.live()
    if not isinstance(change, dict):
        raise errors.bad_request("error decoding patch: a merge patch is an object")
    return _replace(call, live, call.convert(merge(live, change), call.kind))


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


def _apply(call: ApiCall, wanted: Object) -> ApiResponse:
    manager = call.query.text("fieldManager")
    if not manager:
        cause = required("fieldManager", "is required for apply patch")
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
    if wanted["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    _check_name(call, wanted)
    kind, fields = call.kind, _applied_fields(wanted)
    live = call.context.store.get(kind, call.namespace, call.name)
    entry = {
        "manager": manager, "operation": "Apply", "apiVersion": kind.api_version,
        "time": call.context.now(), "fieldsType": "FieldsV1", "fieldsV1": fields,
    }  # fmt: skip
    if live is None:
        return _create(call, wanted, managed=[entry])
    entries = live["metadata"].get("managedFields", [])
    own = [each for each in entries if (each["manager"], each["operation"]) == (manager, "Apply")]
    others = [each for each in entries if each not in own]
    if own and own[0]["fieldsV1"] == fields:
        entry = own[0]  # with the time of the first such apply
    merged = live
    for each in own:
        kept = [fields, *(other["fieldsV1"] for other in others)]
        merged = _without(merged, each["fieldsV1"], kept)
    return _replace(call, live, _overlay(merged, wanted), managed=[*others, entry])


def _applied_fields(wanted: Object) -> Object:
    """Return the fields that an object sets, as FieldsV1: `f:` keys, and {} for a value."""
    metadata = {k: v for k, v in wanted["metadata"].items() if k in _APPLIED_METADATA}
    content = {k: v for k, v in wanted.items() if k not in ("apiVersion", "kind", "status")}
    return _tree({**content, "metadata": metadata})


def _tree(value: Any) -> Object:
    if not isinstance(value, dict):
        return {}
    return {f"f:{key}": _tree(below) for key, below in value.items()}


def _without(obj: Object, fields: Object, kept: list[Object]) -> Object:
    """Return an object without `fields`, except those that occur in one of `kept`."""
    left = dict(obj)
    for field, below in fields.items():
        key, keepers = field.removeprefix("f:"), [tree[field] for tree in kept if field in tree]
        inner = left.get(key)
        if below and isinstance(inner, dict):
            left[key] = _without(inner, below, keepers)
            if not left[key] and not keepers:
                del left[key]
        elif not keepers:
            left.pop(key, None)
    return left


def _overlay(obj: Any, wanted: Any) -> Any:
    if not isinstance(obj, dict) or not isinstance(wanted, dict):
        return copy.deepcopy(wanted)
    return {**obj, **{key: _overlay(obj.get(key), value) for key, value in wanted.items()}}


def delete(call: ApiCall) -> ApiResponse:
    """Delete an object, if it is the one that the preconditions name."""
    options: Object = {}
    if call.request.body:
        options = call.decode(DELETE_OPTIONS)
        call.query.values.setdefault("dryRun", options.get("dryRun", []))
    call.check_options("DeleteOptions")
    live, kind = call.live(), call.kind
    known = live["metadata"]
    for key in ("uid", "resourceVersion"):
        wanted = options.get("preconditions", {}).get(key)
        if wanted is not None and wanted != known[key]:
            why = f"Precondition failed: the object has {key} {known[key]}, not {wanted}"
            raise errors.conflict(kind.group, kind.plural, call.name, why)
    if (refusal := protected(kind, call.name)) is not None:
        raise refusal
    if not call.is_dry_run:
        call.context.store.remove(kind, live)
    details = {"name": call.name, "group": kind.group, "kind": kind.plural, "uid": known["uid"]}
    return ApiResponse.of({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    })  # fmt: skip
