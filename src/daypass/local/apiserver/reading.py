"""Get, list and watch, with label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import quote
from daypass.local.apiserver.kinds import Kind
from daypass.local.apiserver.requests import ApiCall, ApiResponse, to_json
from daypass.local.apiserver.store import Object, Store, StoreEvent
from daypass.local.apiserver.validation import is_label_value, is_qualified

WATCH_SECONDS = 1800.0
"""The longest watch, and the default."""
_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
_Predicate = Callable[[Object], bool]
# Possessive: a selector of 100,000 blanks is scanned once.
_SET = re.compile(r"\s*+([^\s=!(),]++)\s++(in|notin)\s*+\(([^()]*+)\)\s*+")
_EQUAL = re.compile(r"\s*+([^\s=!(),]++)\s*+(==|=|!=)\s*+([^\s=!(),]*+)\s*+")
_EXISTS = re.compile(r"\s*+(!?)\s*+([^\s=!(),]++)\s*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A response that goes on: `first` now, then `line` for each event, then `last`."""

    store: Store
    first: tuple[Object, ...]
    seconds: float
    show: Callable[[StoreEvent], Object | None]
    bookmark: Callable[[], Object | None]

    def line(self, event: StoreEvent) -> bytes:
        """Return what to send for an event; nothing for most of them."""
        shown = self.show(event)
        return b"" if shown is None else to_json(shown)

    def last(self) -> bytes:
        """Return what to send when the time is up: a bookmark, or nothing."""
        bookmark = self.bookmark()
        return b"" if bookmark is None else to_json(bookmark)


def get(call: ApiCall) -> ApiResponse:
    """Return one object."""
    return ApiResponse.of(call.live())


def list_or_watch(call: ApiCall) -> ApiResponse | Watch:
    """Return all objects of a kind that the selectors select, or a watch of them."""
    labels = label_selector(call.query.text("labelSelector"))
    fields = _field_selector(call.query.text("fieldSelector"), call.kind)

    def selected(obj: Object) -> bool:
        return labels(obj) and fields(obj)

    if call.query.flag("watch"):
        return _watch(call, selected)
    store, kind = call.context.store, call.kind
    objects = [obj for obj in store.find_all(kind, call.namespace) if selected(obj)]
    head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version}
    if call.request.wants_metadata:
        head = {**_PARTIAL, "kind": "PartialObjectMetadataList"}
        items = [_metadata_of(obj) for obj in objects]
    else:  # a list does not repeat what its items have in common
        items = [{k: v for k, v in obj.items() if k not in head} for obj in objects]
    version = {"resourceVersion": str(store.version)}
    return ApiResponse.of({**head, "metadata": version, "items": items})


def _metadata_of(obj: Object) -> Object:
    return {**_PARTIAL, "metadata": obj["metadata"]}


def _watch(call: ApiCall, selected: _Predicate) -> Watch:
    store, kind, namespace = call.context.store, call.kind, call.namespace
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
        first = [{"type": "ERROR", "object": gone.status()}]
    else:
        shown = [show(event) for event in store.events if event.version > since]
        first = [event for event in shown if event is not None]
    return Watch(
        store=store, first=tuple(first), show=show, bookmark=bookmark,
        seconds=WATCH_SECONDS if seconds is None else min(float(seconds), WATCH_SECONDS),
    )  # fmt: skip


def label_selector(text: str) -> _Predicate:
    """Return a predicate for a `labelSelector`. Raises the 400."""
    tests: list[Callable[[dict[str, str]], bool]] = []
    at = 0
    while at < len(text):
        for pattern in (_SET, _EQUAL, _EXISTS):
            found = pattern.match(text, at)
            if found and (found.end() == len(text) or text[found.end()] == ","):
                break
        else:
            raise errors.bad_request(f"unable to parse requirement: {quote(text[at : at + 64])}")
        tests.append(_label_test(pattern, found))
        at = found.end() + 1
    return lambda obj: all(test(obj["metadata"].get("labels", {})) for test in tests)


def _label_test(pattern: re.Pattern[str], found: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if pattern is _EXISTS:
        absent, key = found.groups()
        _check_requirement(key, ())
        return lambda labels: (key in labels) != bool(absent)
    key, operator, listed = found.groups()
    values = tuple(part.strip() for part in listed.split(","))
    _check_requirement(key, values)
    if operator in ("=", "==", "in"):
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _check_requirement(key: str, values: tuple[str, ...]) -> None:
    wrong = [] if is_qualified(key) else [key]
    wrong += [value for value in values if not is_label_value(value)]
    if wrong:
        shown = quote(wrong[0][:300])
        raise errors.bad_request(f"unable to parse requirement: Invalid value: {shown}")


def _field_selector(text: str, kind: Kind) -> _Predicate:
    known = ("metadata.name", "metadata.namespace", *kind.selectable)
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]*)(==|=|!=)(.*)", part)
        if found is None or found[1] not in known:
            listed = ", ".join(map(quote, known))
            raise errors.bad_request(f"{quote(part[:300])} selects no known field: only {listed}")
        tests.append((found[1], found[2] != "!=", found[3]))
    return lambda obj: all((_field(obj, path) == value) == same for path, same, value in tests)


def _field(obj: Object, path: str) -> str:
    value: object = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
