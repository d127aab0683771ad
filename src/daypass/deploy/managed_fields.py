"""Whether an object has already been applied as it is, by its managed fields.

Server-side apply keeps, for each manager, the set of fields that it has applied
(`metadata.managedFields`, FieldsV1 of sigs.k8s.io/structured-merge-diff). Where that set is exactly
what would be applied now, with these values, applying it is known to change nothing and need not be
tried. Whatever is in doubt counts as no: then the API server is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from daypass.kube.cluster import FIELD_MANAGER
from daypass.kube.resources import Object


def managed_fields(live: Object) -> Any:
    """Return the fields that daypass has applied to an object, or None."""
    entry = _managed_entry(live)
    return None if entry is None else entry.get("fieldsV1")


def is_applied(document: Object, live: Object) -> bool:
    """Return whether applying a document to this object would certainly change nothing."""
    entry = _managed_entry(live)
    if entry is None or entry.get("apiVersion") != document["apiVersion"]:
        return False
    return live["apiVersion"] == document["apiVersion"] and _holds(
        entry.get("fieldsV1") or {}, _without_names(document), live
    )


def _managed_entry(live: Object) -> Mapping[str, Any] | None:
    for entry in live["metadata"].get("managedFields") or ():
        if (entry.get("manager"), entry.get("operation")) == (FIELD_MANAGER, "Apply"):
            return entry if "subresource" not in entry else None
    return None


def _without_names(document: Object) -> Object:
    """Return a document without what managed fields never contain."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in ("name", "namespace")}
    rest = {k: v for k, v in document.items() if k not in ("apiVersion", "kind", "metadata")}
    return {**rest, "metadata": metadata} if metadata else rest


def _holds(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    inner = [key for key in fields if key != "."]
    if not fields:  # a leaf, or owned as a whole
        return bool(wanted == live)
    if isinstance(wanted, dict) and isinstance(live, dict):
        return (
            {f"f:{name}" for name in wanted} == set(inner)
            and wanted.keys() <= live.keys()
            and all(_holds(fields[f"f:{name}"], wanted[name], live[name]) for name in wanted)
        )
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(inner) and all(
            _item_holds(key, fields[key], wanted, live) for key in inner
        )
    return False


def _item_holds(key: str, fields: Mapping[str, Any], wanted: list[Any], live: list[Any]) -> bool:
    """Compare an item of a list, identified by its value (`v:`) or key fields (`k:`)."""
    mark, _, text = key.partition(":")
    which = json.loads(text)
    if mark == "v":
        return which in wanted and which in live
    if mark != "k":
        return False
    one, other = _picked(which, wanted), _picked(which, live)
    return len(one) == len(other) == 1 and _holds(fields, one[0], other[0])


def _picked(which: Mapping[str, Any], items: Sequence[Any]) -> list[Any]:
    """Return the items with these fields; a default of the API server may be absent."""
    return [
        item
        for item in items
        if isinstance(item, dict)
        and all(item.get(name, value) == value for name, value in which.items())
    ]
