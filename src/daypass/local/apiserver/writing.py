"""JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902) on plain values.

create, update, patch and delete.
"""

from __future__ import annotations

import copy
import json
import secrets
from typing import Any

from daypass.local.apiserver import errors, managed_fields
from daypass.local.apiserver.admission import admit, check, defaulted, protected
from daypass.local.apiserver.call import Call
from daypass.local.apiserver.decoding import (
    SyntaxFault,
    convert,
    media_type,
    parse,
    too_deep,
    version_and_kind,
    wrong_kind,
)
from daypass.local.apiserver.errors import (
    Cause,
    StatusError,
    bad_request,
    invalid_value,
    quote,
    required,
    type_name,
    unsupported,
)
from daypass.local.apiserver.kinds import DELETE_OPTIONS, NAMESPACE, POD
from daypass.local.apiserver.reading import as_list, list_or_watch
from daypass.local.apiserver.requests import ApiResponse
from daypass.local.apiserver.schema import Pairs, ShapeError, as_pairs, plain
from daypass.local.apiserver.store import Object

OPERATIONS_LIMIT = 10_000
"""As in Kubernetes (`maxJSONPatchOperations`)."""
COPIED_LIMIT_CHARACTERS = 3 * 1024 * 1024
"""All that `copy` may copy: a hundred of them would double an object a hundred times."""
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")


def merge(target: Any, patch: Any) -> Any:
    """`target` after a merge patch; neither of them is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def has_directive(patch: Any) -> bool:
    """Whether a strategic merge patch asks for more than a merge patch can do."""
    if isinstance(patch, dict):
        own = any(key.startswith("$") and key != "$retainKeys" for key in patch)
        return own or any(map(has_directive, patch.values()))
    return isinstance(patch, list) and any(map(has_directive, patch))


def rejected() -> StatusError:
    """The 422 for a patch whose outcome is nothing that could be kept."""
    message = "the server rejected our request due to an error in our request"
    return StatusError(422, "Invalid", message, {})


def json_patch(document: Any, patch: Any) -> Any:
    """`document` after a JSON patch. Raises the 400 for no patch, the 422 for one that fails."""
    if not isinstance(patch, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "[]handlers.jsonPatchOp"
        )
    if not all(isinstance(operation, dict) for operation in patch):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal number into Go value of type "
            "handlers.jsonPatchOp"
        )
    if len(patch) > OPERATIONS_LIMIT:
        raise StatusError(
            413,
            "RequestEntityTooLarge",
            f"Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{OPERATIONS_LIMIT}, got {len(patch)}",
        )
    document = copy.deepcopy(document)
    copied = 0
    try:
        for operation in patch:
            if operation["op"] == "copy":
                copied += len(json.dumps(_get(document, _pointer(operation["from"]))))
            if copied > COPIED_LIMIT_CHARACTERS:
                raise ValueError("copied too much")
            document = _apply_operation(document, operation)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        raise rejected() from None
    return document


def _apply_operation(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind not in _OPERATIONS:
        raise ValueError(kind)
    if kind == "test":
        if _get(document, path) != operation["value"]:
            raise ValueError("test")
        return document
    value = operation["value"] if kind in ("add", "replace") else None
    if kind in ("move", "copy"):
        source = _pointer(operation["from"])
        value = copy.deepcopy(_get(document, source))
        if kind == "move":
            _take(document, source)
    if kind in ("remove", "replace"):
        if not path:
            return value
        _take(document, path)
    return document if kind == "remove" else _put(document, path, copy.deepcopy(value))


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(text)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], token: str, *, end: int) -> int:
    if not token.isascii() or not token.isdigit() or len(token) > 9 or int(token) >= end:
        raise IndexError(token)
    return int(token)


def _get(document: Any, path: list[str]) -> Any:
    for token in path:
        if isinstance(document, list):
            document = document[_index(document, token, end=len(document))]
        else:
            document = document[token]
    return document


def _take(document: Any, path: list[str]) -> None:
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent.pop(_index(parent, path[-1], end=len(parent)))
    else:
        del parent[path[-1]]


def _put(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        end = len(parent) + 1
        at = len(parent) if path[-1] == "-" else _index(parent, path[-1], end=end)
        parent.insert(at, value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TypeError(path)
    return document


MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_KEPT = ("uid", "creationTimestamp", "managedFields")
_POLICIES = ("Foreground", "Background", "Orphan", "nil")


def create(call: Call) -> ApiResponse:
    """Make an object."""
    obj = call.decode()
    call.check_options("CreateOptions")
    return _create(call, call.placed(obj), apply=False)


def _create(call: Call, obj: Object, *, apply: bool) -> ApiResponse:
    cluster, kind = call.cluster, call.kind
    metadata = {k: v for k, v in obj["metadata"].items() if k not in (*_KEPT, "selfLink")}
    if not apply and metadata.pop("resourceVersion", ""):
        raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
    if not metadata.get("name") and (prefix := metadata.get("generateName")):
        metadata["name"] = prefix[:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
    owned = {**obj, "metadata": {**metadata, **_managed(obj, apply)}}
    admit(cluster, call.user, kind, owned, create=True)
    obj = defaulted(kind, owned)
    check(kind, obj, None)
    if cluster.store.get(kind, call.namespace, metadata["name"]) is not None:
        raise errors.already_exists(kind.group, kind.plural, metadata["name"])
    obj = cluster.identified(obj)
    if not apply:
        obj = managed_fields.created(obj, call.manager, cluster.now())
    kept = obj if call.query.dry_run else cluster.store.put(kind, obj)
    return ApiResponse.of(kept, 201, call.warnings)


def _managed(obj: Object, apply: bool) -> Object:
    entries = obj["metadata"].get("managedFields")
    return {"managedFields": entries} if apply and entries else {}


def update(call: Call) -> ApiResponse:
    """Replace an object, or the part of it that a subresource is."""
    obj = call.decode()
    call.check_options("UpdateOptions")
    _same_name(call, obj)
    obj = call.placed(obj)
    live = call.live
    if call.kind.custom and not obj["metadata"].get("resourceVersion"):
        cause = invalid_value("metadata.resourceVersion", "0x0", "must be specified for an update")
        raise errors.invalid(call.kind.group, call.kind.kind, call.name, [cause])
    if (uid := obj["metadata"].get("uid")) and uid != live["metadata"]["uid"]:
        why = (
            f"StorageError: invalid object, Code: 4, Key: /registry/{call.kind.plural}/"
            f"{call.namespace}/{call.name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition "
            f"failed: UID in precondition: {uid}, UID in object meta: {live['metadata']['uid']}"
        )
        raise errors.conflict(call.kind.group, call.kind.plural, call.name, why)
    return _replace(call, live, obj)


def _same_name(call: Call, obj: Object) -> None:
    name = obj["metadata"].get("name", "")
    if not name:
        raise errors.bad_request(
            f"the name of the object ({call.name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if name != call.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )


def _replace(call: Call, live: Object, obj: Object, *, apply: bool = False) -> ApiResponse:
    """Put `obj` in the place of `live`, if nobody came between."""
    cluster, kind, known = call.cluster, call.kind, live["metadata"]
    version = obj["metadata"].get("resourceVersion", "")
    if version not in ("", "0", known["resourceVersion"]):
        raise errors.conflict(kind.group, kind.plural, call.name)
    kept = {key: known[key] for key in (*_KEPT, "resourceVersion") if key in known}
    if apply:
        kept.pop("managedFields", None)
    obj = {**obj, "metadata": {**obj["metadata"], **kept}}
    if call.subresource:
        obj = {**live, "status": obj.get("status", {})}
    elif kind in (POD, NAMESPACE):
        obj["status"] = live.get("status", {})
    admit(cluster, call.user, kind, obj, create=False)
    obj = defaulted(kind, obj)
    if kind in (POD, NAMESPACE):
        obj["status"] = {**obj.get("status", {})} if call.subresource else live.get("status", {})
    check(kind, obj, live)
    if not apply:
        obj = managed_fields.updated(obj, live, call.manager, cluster.now())
    if not call.query.dry_run:
        obj = cluster.store.put(kind, obj)
    return ApiResponse.of(obj, 200, call.warnings)


def patch(call: Call) -> ApiResponse:
    """Change parts of an object."""
    media = call.request.header("content-type").partition(";")[0].strip().lower()
    if media not in (MERGE, JSON_PATCH, APPLY) and (media != STRATEGIC or call.kind.custom):
        raise StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    call.check_options("PatchOptions")
    if media == APPLY:
        return _apply(call)
    if call.query.flag("force"):
        cause = Cause(
            field="force",
            message="Forbidden: may not be specified for non-apply patch",
            reason="FieldValueForbidden",
        )
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
    live = call.live
    obj = call.placed(_patched(call, live, media))
    _same_name(call, obj)
    _same_uid(call, live, obj["metadata"].get("uid", ""))
    return _replace(call, live, obj)


def _same_uid(call: Call, live: Object, uid: str) -> None:
    if uid != live["metadata"]["uid"]:
        cause = invalid_value("metadata.uid", quote(uid), "field is immutable")
        raise errors.invalid(call.kind.group, call.kind.kind, call.name, [cause])


def _patched(call: Call, live: Object, media: str) -> Object:
    try:
        asked = plain(parse(call.request.body, "application/json"))
    except SyntaxFault:
        raise errors.bad_request("invalid JSON patch") from None
    if media == JSON_PATCH:
        made = json_patch(live, asked)
    else:
        if not isinstance(asked, dict):
            found = type_name(as_pairs(asked))
            raise errors.bad_request(
                f"error decoding patch: json: cannot unmarshal {found} into Go value of type "
                "map[string]interface {}"
            )
        if media == STRATEGIC and has_directive(asked):
            raise errors.bad_request(
                "the embedded API server knows no directives in a strategic merge patch: "
                "send a merge patch or apply"
            )
        made = merge(live, asked)
    return _typed(call, made)


def _typed(call: Call, made: Any) -> Object:
    strict: list[str] = []
    kind = call.kind
    if too_deep(made):
        raise rejected()
    try:
        pairs = as_pairs(made)
        version, name = version_and_kind(pairs, kind)
        if (version, name) != (kind.group_version, kind.kind):
            raise ShapeError(wrong_kind(version, name, kind))
        read, strict = convert(pairs, kind)
        if not strict or call.validation != "Strict":
            call.warnings += strict if call.validation == "Warn" else []
            return read
        fault = f"strict decoding error: {', '.join(strict)}"
    except (ShapeError, SyntaxFault) as error:
        fault = str(error)
    shown = quote(json.dumps(made, separators=(",", ":"), sort_keys=True))
    raise errors.invalid("", "", "", [invalid_value("patch", shown, fault)])


def _apply(call: Call) -> ApiResponse:
    """Server-side apply: what is sent is what this manager wants, no more and no less."""
    kind, manager = call.kind, call.query.text("fieldManager")
    if not manager:
        cause = required("fieldManager", "is required for apply patch")
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
    wanted = call.placed(_wanted(call))
    live = call.cluster.store.get(kind, call.namespace, call.name)
    force, now = call.query.flag("force"), call.cluster.now()
    merged = managed_fields.applied(live, wanted, manager, now, force=force)
    _same_name(call, wanted)
    uid = wanted["metadata"].get("uid", "")
    if live is None:
        if uid:
            why = (
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found"
            )
            raise errors.conflict(kind.group, kind.plural, call.name, why)
        return _create(call, merged, apply=True)
    _same_uid(call, live, uid or live["metadata"]["uid"])
    if version := wanted["metadata"].get("resourceVersion"):
        merged["metadata"]["resourceVersion"] = version
    before = live["metadata"].get("managedFields", [])
    after = merged["metadata"]["managedFields"]
    if [{**e, "time": ""} for e in before] == [{**e, "time": ""} for e in after]:
        merged["metadata"]["managedFields"] = before  # nothing new: times stay as they were
    return _replace(call, live, merged, apply=True)


def _wanted(call: Call) -> Object:
    kind = call.kind
    try:
        value = parse(call.request.body, "application/yaml")
    except SyntaxFault as fault:
        raise errors.bad_request(f"error encoding patch: {fault}") from None
    head = dict(value) if isinstance(value, Pairs) else {}
    version, name = str(head.get("apiVersion") or ""), str(head.get("kind") or "")
    if (version, name) != (kind.group_version, kind.kind):
        group, _, short = version.rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{short}, Kind={name}")
    try:
        read, strict = convert(value, kind)
    except ShapeError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None
    if read["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    if strict and not kind.custom:
        field = strict[0].partition('"')[2].rpartition('"')[0]
        whole = f"{call.namespace}/{call.name}; {kind.group}/{kind.version}, Kind={kind.kind}"
        raise StatusError(
            500, "", f"failed to create typed patch object ({whole}): .{field}: "
            "field not declared in schema",
        )  # fmt: skip
    call.warnings += strict
    return read


def delete(call: Call) -> ApiResponse:
    """Remove an object, if it is the one that the sender means."""
    options = _delete_options(call)
    live = call.live
    known = live["metadata"]
    for key, word, why in (
        ("uid", "UID", "The object might have been deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "The object might have been modified"),
    ):
        wanted = options.get("preconditions", {}).get(key)
        if wanted is not None and wanted != known[key]:
            message = (
                f"the {word} in the precondition ({wanted}) does not match the {word} in record "
                f"({known[key]}). {why}"
            )
            raise errors.conflict(call.kind.group, call.kind.kind, call.name, message)
    if (refusal := protected(call.kind, call.name)) is not None:
        raise refusal
    gone = live if call.query.dry_run else call.cluster.store.remove(call.kind, live)
    return ApiResponse.of(_farewell(call, gone), 200, call.warnings)


def _farewell(call: Call, gone: Object) -> Object:
    kind, metadata = call.kind, gone["metadata"]
    if kind is NAMESPACE:
        metadata = {**metadata, "deletionTimestamp": call.cluster.now()}
        return {**gone, "metadata": metadata, "status": {"phase": "Terminating"}}
    if kind.returns_deleted:
        return gone
    details = {"name": metadata["name"], "group": kind.group, "kind": kind.plural}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**{k: v for k, v in details.items() if v}, "uid": metadata["uid"]},
    }


def delete_many(call: Call) -> ApiResponse:
    """Remove every object of a kind that the selectors leave."""
    _delete_options(call)
    found = list_or_watch(call)
    if not isinstance(found, ApiResponse):
        raise errors.method_not_allowed()
    names = [item["metadata"]["name"] for item in json.loads(found.body)["items"]]
    store, gone = call.cluster.store, []
    for name in names:
        if (live := store.get(call.kind, call.namespace, name)) is not None:
            gone.append(live)
            if not call.query.dry_run:
                store.remove(call.kind, live)
    return ApiResponse.of(as_list(call.kind, gone, store.version))


def _delete_options(call: Call) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if call.request.body:
        options = _options_body(call)
        call.query.values.setdefault("dryRun", options.get("dryRun", []))
    elif policy := call.query.text("propagationPolicy"):
        options["propagationPolicy"] = policy
    call.check_options("DeleteOptions")
    policy = options.get("propagationPolicy", "nil")
    if policy not in _POLICIES:
        cause = unsupported("propagationPolicy", quote(policy), _POLICIES)
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    return options


def _options_body(call: Call) -> dict[str, Any]:
    kind = DELETE_OPTIONS
    try:
        value = parse(call.request.body, media_type(call.request.header("content-type")))
        version, name = version_and_kind(value, kind)
        if name != kind.kind:
            raise errors.bad_request(wrong_kind(version, name, kind))
        read, _ = convert(value or Pairs(), kind)
    except SyntaxFault as fault:
        raise errors.bad_request(f"couldn't get version/kind; {fault}") from None
    except ShapeError as error:
        raise errors.bad_request(str(error)) from None
    return read
