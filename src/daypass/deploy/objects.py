"""Objects of a cluster: how they are referred to, found and compared with documents.

Server-side apply keeps, for each manager, the set of fields that it has applied
(`metadata.managedFields`, FieldsV1 of sigs.k8s.io/structured-merge-diff). Where that set is exactly
what would be applied now, with these values, applying it is known to change nothing and need not be
tried. Whatever is in doubt counts as no: then the API server is asked.

Diffs are without server fields and values of Secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daypass._core.kubernetes.objects import Object, group_of, without_server_fields
from daypass._core.text import unified_diff
from daypass.kube.cluster import FIELD_MANAGER, Cluster
from daypass.render.objects import Wave, wave_of
from daypass.render.objects import document as as_yaml


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectRef:
    """Identifies an object, whatever its version."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, document: Object) -> ObjectRef:
        metadata = document["metadata"]
        return cls(
            group=group_of(str(document["apiVersion"])),
            kind=str(document["kind"]),
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
        )

    @classmethod
    def core(cls, kind: str, namespace: str, name: str) -> ObjectRef:
        """Return the reference to an object of the core group, such as a Secret."""
        return cls(group="", kind=kind, namespace=namespace, name=name)

    @classmethod
    def parse(cls, key: str) -> ObjectRef | None:
        """Return the reference for a `key`, or None for any other text."""
        parts = key.split("_")
        if len(parts) != 4:
            return None
        namespace, name, group, kind = parts
        return cls(group=group, kind=kind, namespace=namespace, name=name)

    @property
    def key(self) -> str:
        """`NAMESPACE_NAME_GROUP_KIND`: a ConfigMap key, as kpt, Flux and cli-utils write it."""
        return f"{self.namespace}_{self.name}_{self.group}_{self.kind}"

    @property
    def where(self) -> str:
        """`NAMESPACE/NAME`, or just the name of a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def wave(self) -> Wave:
        """When it is applied; removals go in reverse."""
        return wave_of(self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.where}"


def find_object(cluster: Cluster, ref: ObjectRef, *, metadata_only: bool = False) -> Object | None:
    """Return an object in the preferred version of its kind, or None.

    `metadata_only`: no Secret's data is sent.
    """
    resource = cluster.find_kind(ref.group, ref.kind)
    if resource is None:
        return None
    return cluster.find(resource, ref.name, ref.namespace or None, metadata_only=metadata_only)


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


def comparable(document: Object) -> Object:
    """Return an object without what the API server and controllers write."""
    rest = {k: v for k, v in without_server_fields(document).items() if k != "status"}
    head = {name: rest.pop(name) for name in ("apiVersion", "kind", "metadata")}
    return {**head, **rest}


def object_diff(ref: ObjectRef, before: Object | None, after: Object | None) -> str:
    """Return a unified diff of YAML, empty if nothing differs. None: there is no such object."""
    old, new = (None if side is None else comparable(side) for side in (before, after))
    if ref.kind == "Secret":
        old, new = _masked(old, new, "before"), _masked(new, old, "after")
    path = f"{ref.kind}/{ref.where}"
    old_text, new_text = (None if side is None else as_yaml(side) for side in (old, new))
    return unified_diff(old_text, new_text, f"cluster/{path}", f"config/{path}")


def _masked(document: Object | None, other: Object | None, word: str) -> Object | None:
    """Replace the values of a Secret, the same way where both sides hold the same."""
    if document is None:
        return None

    def mask(field: str) -> dict[str, str]:
        there: Mapping[str, str] = (other or {}).get(field) or {}
        return {
            name: "(not shown)" if there.get(name) == value else f"(not shown: {word})"
            for name, value in (document.get(field) or {}).items()
        }

    return {**document, **{name: mask(name) for name in ("data", "stringData") if name in document}}
