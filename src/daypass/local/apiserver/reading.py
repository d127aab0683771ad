"""Label selectors, field selectors, and lists in pages.

get, list and watch.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daypass.local.apiserver import errors
from daypass.local.apiserver.call import Call
from daypass.local.apiserver.errors import Cause, StatusError, quote
from daypass.local.apiserver.kinds import Kind
from daypass.local.apiserver.names import qualified_faults, value_faults
from daypass.local.apiserver.requests import ApiResponse, dump
from daypass.local.apiserver.store import Object, Store, StoreEvent

Predicate = Callable[[Object], bool]
# Possessive: a selector of 100,000 blanks is looked at once.
_SET = re.compile(r"\s*+([^\s=!(),]++)\s++(in|notin)\s*+\(([^()]*+)\)\s*+")
_EQUAL = re.compile(r"\s*+([^\s=!(),]++)\s*+(==|=|!=)\s*+([^\s=!(),]*+)\s*+")
_EXISTS = re.compile(r"\s*+(!?)\s*+([^\s=!(),]++)\s*+")


def label_selector(text: str) -> Predicate:
    """What `labelSelector` asks for. Raises the 400."""
    tests: list[Callable[[dict[str, str]], bool]] = []
    at = 0
    while at < len(text):
        for pattern in (_SET, _EQUAL, _EXISTS):
            found = pattern.match(text, at)
            if found and (found.end() == len(text) or text[found.end()] == ","):
                break
        else:
            rest = text[at:].lstrip()
            raise errors.bad_request(
                f"unable to parse requirement: found '{rest[:1]}', expected: identifier"
            )
        tests.append(_label_test(pattern, found))
        at = found.end() + 1
    return lambda obj: all(test(obj["metadata"].get("labels", {})) for test in tests)


def _label_test(pattern: re.Pattern[str], found: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if pattern is _EXISTS:
        absent, key = found.groups()
        _check(key, ())
        return lambda labels: (key in labels) != bool(absent)
    key, operator, listed = found.groups()
    values = tuple(part.strip() for part in listed.split(","))
    _check(key, values)
    if operator in ("=", "==", "in"):
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _check(key: str, values: tuple[str, ...]) -> None:
    faults = [f"key: Invalid value: {quote(key)}: {fault}" for fault in qualified_faults(key)]
    for value in values:
        faults += [f"values[0][{key}]: Invalid value: {quote(value)}: {fault}"
                   for fault in value_faults(value)]  # fmt: skip
    if faults:
        raise errors.bad_request(f"unable to parse requirement: {faults[0]}")


def field_selector(text: str, kind: Kind) -> Predicate:
    """What `fieldSelector` asks for, of the fields that the kind names. Raises the 400."""
    known = ("metadata.name", "metadata.namespace", *kind.selectable)
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]*)(==|=|!=)(.*)", part)
        if found is None:
            raise errors.bad_request(
                f"invalid selector: {quote(text)}; can't understand {quote(part)}"
            )
        path, operator, value = found.groups()
        if path not in known:
            listed = ", ".join(map(quote, known[:2]))
            raise errors.bad_request(f"{quote(path)} is not a known field selector: only {listed}")
        tests.append((path, operator != "!=", value))
    return lambda obj: all((_field(obj, path) == value) == same for path, same, value in tests)


def _field(obj: Any, path: str) -> str:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj if isinstance(obj, str) else ""


def page(objects: list[Object], limit: int, start: str) -> tuple[list[Object], str, int]:
    """One page after a continue token: its objects, the next token, how many are left."""
    if start:
        after = _read_token(start)
        objects = [obj for obj in objects if _place(obj) > after]
    if limit <= 0 or limit >= len(objects):
        return objects, "", 0
    kept = objects[:limit]
    token = json.dumps({"v": "meta.k8s.io/v1", "start": _place(kept[-1])})
    return kept, urlsafe_b64encode(token.encode()).decode(), len(objects) - limit


def _place(obj: Object) -> list[str]:
    return [obj["metadata"].get("namespace", ""), obj["metadata"]["name"]]


def _read_token(token: str) -> list[str]:
    try:
        raw = urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        start = json.loads(raw)["start"]
        if isinstance(start, list) and [type(part) for part in start] == [str, str]:
            return start
        fault = "continue key is not valid: incorrect encoded start resourceVersion"
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        fault = "continue key is not valid: illegal base64 data at input byte 0"
    raise errors.bad_request(f"invalid continue token: {fault}")


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
    shows: Callable[[StoreEvent], Object | None]
    last: Callable[[], Object | None]
    seconds: float

    def line(self, event: StoreEvent) -> bytes:
        """What is sent for an event; nothing for most of them."""
        shown = self.shows(event)
        return b"" if shown is None else dump(shown)


def serves_metadata(call: Call) -> bool:
    """Whether the answer has nothing but its objects' metadata, as was asked for."""
    if call.query.flag("watch"):
        return call.request.wants_metadata
    return call.request.wants_metadata_list


def get(call: Call) -> ApiResponse:
    """One object."""
    return ApiResponse.of(call.live)


def list_or_watch(call: Call) -> ApiResponse | Watch:
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
    return ApiResponse.of(_metadata_of(listed) if call.request.wants_metadata_list else listed)


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


def _too_new(version: int, current: int) -> StatusError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(
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

    def shown(event: StoreEvent) -> Object | None:
        obj = event.object
        if event.kind is not kind or namespace not in ("", obj["metadata"].get("namespace", "")):
            return None
        now, before = chosen(obj), event.before is not None and chosen(event.before)
        if event.type == "DELETED" or (before and not now):
            return {"type": "DELETED", "object": obj} if before else None
        if not now:
            return None
        return {"type": "MODIFIED" if before else "ADDED", "object": obj}

    def shows(event: StoreEvent) -> Object | None:
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


def _first(
    call: Call, chosen: Predicate, shows: Callable[[StoreEvent], Object | None]
) -> list[Object]:
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
