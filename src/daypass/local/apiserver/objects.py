"""What is done with stored objects: get, list, watch, create, update, patch, apply, delete.

Server-side apply is a merge that never conflicts: `managedFields` records what each manager has
applied, so that an apply removes what its manager no longer sends and no other manager has.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daypass._core.hints import Placeholder, kubectl
from daypass._core.kubernetes.objects import Object
from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import quote
from daypass.local.apiserver.kinds import DELETE_OPTIONS, NAMESPACE
from daypass.local.apiserver.requests import ApiCall, ApiResponse
from daypass.local.apiserver.schema import check, with_defaults
from daypass.local.apiserver.store import Store, StoreEvent

MERGE_PATCH, APPLY_PATCH = "application/merge-patch+json", "application/apply-patch+yaml"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_PATCHES = (MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_MERGED_LISTS = ("finalizers", "imagePullSecrets", "ownerReferences", "secrets")
"""The lists of these kinds to which a strategic merge patch adds."""
WATCH_SECONDS = 1800.0
"""The longest watch, and the default."""
_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
_SET_BY_SERVER = ("uid", "creationTimestamp", "managedFields")
_APPLIED_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
_Predicate = Callable[[Object], bool]


def get(call: ApiCall) -> ApiResponse:
    """Return one object, or its metadata."""
    obj = call.live()
    return ApiResponse.of(_metadata_of(obj) if call.request.wants_metadata else obj)


def _metadata_of(obj: Object) -> Object:
    return {**_PARTIAL, "metadata": obj["metadata"]}


def list_or_watch(call: ApiCall) -> ApiResponse | Watch:
    """Return all objects of a kind that the selectors select, or a watch of them."""
    selected = _selection(call)
    if call.query.flag("watch"):
        return _watch(call, selected)
    store, kind = call.state.store, call.kind
    objects = [obj for obj in store.find_all(kind, call.namespace) if selected(obj)]
    head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version}
    if call.request.wants_metadata:
        head = {**_PARTIAL, "kind": "PartialObjectMetadataList"}
        items = [_metadata_of(obj) for obj in objects]
    else:  # a list does not repeat what its items have in common
        items = [{k: v for k, v in obj.items() if k not in head} for obj in objects]
    version = {"resourceVersion": str(store.version)}
    return ApiResponse.of({**head, "metadata": version, "items": items})


def _selection(call: ApiCall) -> _Predicate:
    """Return what the labelSelector and the fieldSelector select. Raises the 400."""
    labels = _requirements(call.query.text("labelSelector"))
    fields = _requirements(call.query.text("fieldSelector"))
    known = ("metadata.name", "metadata.namespace", *call.kind.selectable)
    for key, _, _ in fields:
        if key not in known:
            listed = ", ".join(map(quote, known))
            raise errors.bad_request(f"{quote(key[:300])} selects no known field: only {listed}")

    def selected(obj: Object) -> bool:
        have = obj["metadata"].get("labels", {})
        return all((have.get(key) == value) is wanted for key, wanted, value in labels) and all(
            (_field(obj, path) == value) is wanted for path, wanted, value in fields
        )

    return selected


def _requirements(text: str) -> list[tuple[str, bool, str]]:
    """Return key, whether it must have the value, and the value."""
    found_requirements = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^\s=!(),]+)(==?|!=)([^\s=!(),]*)", part)
        if found is None:
            what = "unable to parse requirement"
            raise errors.bad_request(f"{what}: {quote(part[:300])} is not `key=value`")
        found_requirements.append((found[1], found[2] != "!=", found[3]))
    return found_requirements


def _field(obj: Object, path: str) -> str:
    value: Any = obj
    for key in path.split("."):
        value = value.get(key, "")
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A response that goes on: `first` now, then what to `show` of each event of the store, then
    a `bookmark`. Both may be None, for nothing to send.
    """

    store: Store
    first: list[Object]
    seconds: float
    show: Callable[[StoreEvent], Object | None]
    bookmark: Callable[[], Object | None]


def _watch(call: ApiCall, selected: _Predicate) -> Watch:
    store, kind, namespace = call.state.store, call.kind, call.namespace
    metadata_only = call.request.wants_metadata

    def sent(change: str, obj: Object) -> Object:
        return {"type": change, "object": _metadata_of(obj) if metadata_only else obj}

    def show(event: StoreEvent) -> Object | None:
        obj = event.object
        if event.kind is not kind or namespace not in ("", obj["metadata"].get("namespace", "")):
            return None
        now, before = selected(obj), event.before is not None and selected(event.before)
        if event.type == "DELETED" or not now:
            return sent("DELETED", obj) if before else None
        return sent("MODIFIED" if before else "ADDED", obj)

    def bookmark() -> Object | None:
        if not call.query.flag("allowWatchBookmarks"):
            return None
        metadata: Object = {"resourceVersion": str(store.version), "creationTimestamp": None}
        head = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        return sent("BOOKMARK", head)

    since, seconds = call.query.number("resourceVersion"), call.query.number("timeoutSeconds")
    if not since:
        live = [obj for obj in store.find_all(kind, namespace) if selected(obj)]
        first = [sent("ADDED", obj) for obj in live]
    elif since < store.forgotten:
        gone = errors.expired(f"too old resource version: {since} ({store.forgotten})")
        first = [{"type": "ERROR", "object": gone.status}]
    else:
        shown = [show(event) for event in store.events if event.version > since]
        first = [event for event in shown if event is not None]
    return Watch(
        store=store,
        first=first,
        show=show,
        bookmark=bookmark,
        seconds=WATCH_SECONDS if seconds is None else min(float(seconds), WATCH_SECONDS),
    )


def create(call: ApiCall) -> ApiResponse:
    obj = call.decode()
    if obj["metadata"].get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    return _create(call, obj, managed=[])


def _create(call: ApiCall, obj: Object, *, managed: list[Object]) -> ApiResponse:
    state, kind = call.state, call.kind
    if kind.namespaced:
        require_namespace(call)
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _SET_BY_SERVER}
    obj = with_defaults(kind, {**obj, "metadata": metadata})
    check(kind, obj, None)
    if state.store.get(kind, call.namespace, metadata["name"]) is not None:
        raise errors.already_exists(kind.group, kind.plural, metadata["name"])
    if managed:
        obj["metadata"]["managedFields"] = managed
    return _stored(call, state.with_identity(obj), 201)


def _stored(call: ApiCall, obj: Object, status: int) -> ApiResponse:
    """Store an object, except in a dry run, and return it."""
    return ApiResponse.of(obj if call.is_dry_run else call.state.store.put(call.kind, obj), status)


def require_namespace(call: ApiCall) -> None:
    """Raise the 404 if the namespace of a call does not exist."""
    if call.state.store.get(NAMESPACE, "", call.namespace) is None:
        raise errors.not_found("", "namespaces", call.namespace)


def update(call: ApiCall) -> ApiResponse:
    obj = call.decode()
    return _replace(call, call.live(), obj)


def _replace(
    call: ApiCall, live: Object, obj: Object, *, managed: list[Object] | None = None
) -> ApiResponse:
    kind, known, sent = call.kind, live["metadata"], obj["metadata"]
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
    return _stored(call, obj, 200)


def _check_name(call: ApiCall, obj: Object) -> None:
    name = obj["metadata"].get("name", "")
    if name != call.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )


def patch(call: ApiCall) -> ApiResponse:
    """Change an object by a merge patch (RFC 7396) or by server-side apply.

    A strategic merge patch is read as a merge patch, if it means the same.
    """
    media = call.request.media_type
    if media not in _PATCHES:
        accepted = ", ".join(_PATCHES)
        raise errors.unsupported_media_type(f"the embedded API server reads patches as {accepted}")
    change = call.parse(call.kind)
    if media == APPLY_PATCH:
        return _apply(call, call.convert(change, call.kind))
    live = call.live()
    if not isinstance(change, dict):
        raise errors.bad_request("error decoding patch: a merge patch is an object")
    if media == STRATEGIC_PATCH and (key := _strategic_key(change)):
        raise errors.unsupported_media_type(
            f"the embedded API server does not merge lists such as {quote(key)}; this works: "
            + kubectl("apply", "--server-side", "-f", Placeholder("FILE"))
        )
    return _replace(call, live, call.convert(merge(live, change), call.kind))


def _strategic_key(change: dict[str, Any]) -> str:
    """Return a key of a strategic merge patch that another merge patch has not, or an empty string.

    These are directives, and lists that are merged.
    """
    for key, value in change.items():
        if key.startswith("$") or (key in _MERGED_LISTS and isinstance(value, list)):
            return key
        if isinstance(value, dict) and (below := _strategic_key(value)):
            return below
    return ""


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
        raise errors.bad_request("fieldManager is required for apply patch")
    if wanted["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    _check_name(call, wanted)
    kind, fields = call.kind, _applied_fields(wanted)
    live = call.state.store.get(kind, call.namespace, call.name)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": kind.api_version,
        "time": call.state.now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
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
    options = call.decode(DELETE_OPTIONS) if call.request.body else {}
    call.query.values.setdefault("dryRun", options.get("dryRun", []))
    live, kind = call.live(), call.kind
    known = live["metadata"]
    for key, wanted in options.get("preconditions", {}).items():
        if wanted != known[key]:
            why = f"Precondition failed: the object has {key} {known[key]}, not {wanted}"
            raise errors.conflict(kind.group, kind.plural, call.name, why)
    if not call.is_dry_run:
        call.state.store.remove(kind, live)
    details = {"name": call.name, "group": kind.group, "kind": kind.plural, "uid": known["uid"]}
    return ApiResponse.of(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {key: value for key, value in details.items() if value},
        }
    )
