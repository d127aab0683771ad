"""get, list and watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daypass.local.api import errors
from daypass.local.api.call import Call
from daypass.local.api.errors import ApiError, Cause
from daypass.local.api.golang import quote
from daypass.local.api.kinds import Kind
from daypass.local.api.requests import Response, dump
from daypass.local.api.selection import Predicate, field_selector, label_selector, page
from daypass.local.api.store import Event, Object, Store

WATCH_SECONDS = 1800.0
"""How long a watch lasts that does not say it."""
_MATCHES = ("Exact", "NotOlderThan", "")
_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
_END_OF_FIRST = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An answer that goes on: `first` now, then what `shows` makes of each event, then `last`."""

    store: Store
    first: tuple[Object, ...]
    shows: Callable[[Event], Object | None]
    last: Callable[[], Object | None]
    seconds: float

    def line(self, event: Event) -> bytes:
        """What is sent for an event; nothing for most of them."""
        shown = self.shows(event)
        return b"" if shown is None else dump(shown)


def serves_metadata(call: Call) -> bool:
    """Whether the answer has nothing but its objects' metadata, as was asked for."""
    if call.query.flag("watch"):
        return call.request.wants_metadata
    return call.request.wants_metadata_list


def get(call: Call) -> Response:
    """One object."""
    return Response.of(call.live)


def list_or_watch(call: Call) -> Response | Watch:
    """All objects of a kind that the selectors leave."""
    labels = label_selector(call.query.text("labelSelector"))
    fields = field_selector(call.query.text("fieldSelector"), call.kind)

    def chosen(obj: Object) -> bool:
        return labels(obj) and fields(obj)

    if call.query.flag("watch"):
        return _watch(call, chosen)
    limit, version = call.query.number("limit") or 0, _version(call)
    call.query.number("timeoutSeconds")
    store = call.cluster.store
    if version is not None and version > store.version:
        raise _too_new(version, store.version)
    if call.query.text("resourceVersionMatch") == "Exact" and version != store.version:
        raise errors.expired("The provided resource version is too old.")
    every = [obj for obj in store.every(call.kind, call.namespace) if chosen(obj)]
    objects, token, left = page(every, limit, call.query.text("continue"))
    listed = as_list(call.kind, objects, store.version, token, left)
    return Response.of(_metadata_of(listed) if call.request.wants_metadata_list else listed)


def as_list(
    kind: Kind, objects: list[Object], version: int, token: str = "", left: int = 0
) -> Object:
    """A list as Kubernetes sends it: what every item would repeat is left out."""
    metadata: Object = {"resourceVersion": str(version)}
    if token:
        metadata |= {"continue": token, "remainingItemCount": left}
    repeated = () if kind.custom else ("kind", "apiVersion")
    items = [{k: v for k, v in obj.items() if k not in repeated} for obj in objects]
    return {
        "kind": f"{kind.kind}List",
        "apiVersion": kind.group_version,
        "metadata": metadata,
        "items": items,
    }


def _metadata_of(listed: Object) -> Object:
    """A list with nothing but the metadata of its objects (handlers/response.go)."""
    items = [{**_PARTIAL, "metadata": obj["metadata"]} for obj in listed["items"]]
    return {**listed, **_PARTIAL, "kind": "PartialObjectMetadataList", "items": items}


def _event_of_metadata(event: Object) -> Object:
    """The same of an event; what went wrong stays whole."""
    if event["type"] == "ERROR":
        return event
    return {**event, "object": {**_PARTIAL, "metadata": event["object"]["metadata"]}}


def _version(call: Call) -> int | None:
    text, match = call.query.text("resourceVersion"), call.query.text("resourceVersionMatch")
    if match and not call.query.flag("watch"):
        _check_match(match, given=bool(text))
    if not text or text == "0":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise errors.bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text[:64]}": '
            f'strconv.ParseUint: parsing "{text[:64]}": invalid syntax'
        )
    return int(text)


def _check_match(match: str, *, given: bool) -> None:
    if given and match in _MATCHES:
        return
    known = ", ".join(map(quote, _MATCHES))
    forbidden = "resourceVersionMatch is forbidden unless resourceVersion is provided"
    cause = Cause(
        field="resourceVersionMatch",
        message=f"Unsupported value: {quote(match)}: supported values: {known}"
        if given
        else f"Forbidden: {forbidden}",
        reason="FieldValueNotSupported" if given else "FieldValueForbidden",
    )
    raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])


def _too_new(version: int, current: int) -> ApiError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {version}, current: {current}",
        {"causes": [cause], "retryAfterSeconds": 1},
        (("Retry-After", "1"),),
    )


def _watch(call: Call, chosen: Predicate) -> Watch:
    store, kind, namespace = call.cluster.store, call.kind, call.namespace

    def sent(event: Object) -> Object:
        return _event_of_metadata(event) if call.request.wants_metadata else event

    def shown(event: Event) -> Object | None:
        obj = event.object
        if event.kind is not kind or namespace not in ("", obj["metadata"].get("namespace", "")):
            return None
        now, before = chosen(obj), event.before is not None and chosen(event.before)
        if event.type == "DELETED" or (before and not now):
            return {"type": "DELETED", "object": obj} if before else None
        if not now:
            return None
        return {"type": "MODIFIED" if before else "ADDED", "object": obj}

    def shows(event: Event) -> Object | None:
        made = shown(event)
        return None if made is None else sent(made)

    def bookmark(annotations: dict[str, str] | None = None) -> Object:
        metadata: Object = {"resourceVersion": str(store.version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        head = {"kind": kind.kind, "apiVersion": kind.group_version, "metadata": metadata}
        return sent({"type": "BOOKMARK", "object": head})

    seconds = call.query.number("timeoutSeconds")
    bookmarks = call.query.flag("allowWatchBookmarks")
    first = [sent(event) for event in _first(call, chosen, shown)]
    if bookmarks and call.query.flag("sendInitialEvents"):
        first.append(bookmark(_END_OF_FIRST))
    return Watch(
        store=store,
        first=tuple(first),
        shows=shows,
        last=lambda: bookmark() if bookmarks else None,
        seconds=WATCH_SECONDS if seconds is None else max(0.0, min(seconds, WATCH_SECONDS)),
    )


def _first(call: Call, chosen: Predicate, shows: Callable[[Event], Object | None]) -> list[Object]:
    """What a watch begins with: the state where no version is given, else what came after it."""
    store, version = call.cluster.store, _version(call)
    if version is None or call.query.flag("sendInitialEvents"):
        live = [obj for obj in store.every(call.kind, call.namespace) if chosen(obj)]
        return [{"type": "ADDED", "object": obj} for obj in live]
    if version < store.forgotten:
        gone = errors.expired(f"too old resource version: {version} ({store.forgotten})")
        return [{"type": "ERROR", "object": gone.status()}]
    shown = [shows(event) for event in store.events if event.version > version]
    return [event for event in shown if event is not None]
