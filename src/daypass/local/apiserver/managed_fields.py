"""Who manages which field: `managedFields`, and the conflicts of server-side apply.

A field is a path to a scalar, to a list (all of it: lists are not merged here) or to one of the
structs that Kubernetes treats as a whole. Paths of keys are kept as tuples and written as FieldsV1.
"""

from __future__ import annotations

import copy
from typing import Any

from daypass.local.apiserver.errors import StatusError, quote
from daypass.local.apiserver.store import Object

Path = tuple[str, ...]
Fields = frozenset[Path]
_UNMANAGED = ("kind", "apiVersion", "status")
_METADATA = ("labels", "annotations", "ownerReferences", "finalizers", "generateName")
_WHOLE = ("roleRef",)
BEFORE_FIRST_APPLY = "before-first-apply"


def fields_of(obj: Object) -> Fields:
    """The fields that an object sets."""
    found: set[Path] = set()
    for key, value in obj.items():
        if key == "metadata":
            for name in _METADATA:
                if name in value:
                    _gather(value[name], (key, name), found)
        elif key not in _UNMANAGED:
            _gather(value, (key,), found)
    return frozenset(found)


def _gather(value: Any, path: Path, found: set[Path]) -> None:
    if isinstance(value, dict) and value and path[-1] not in _WHOLE:
        for key, inner in value.items():
            _gather(inner, (*path, key), found)
    else:
        found.add(path)


def value_at(obj: Any, path: Path) -> Any:
    """What stands at a path, or None."""
    for key in path:
        if not isinstance(obj, dict) or key not in obj:
            return None
        obj = obj[key]
    return obj


def _read(entry: Object) -> Fields:
    found: set[Path] = set()

    def walk(tree: Object, path: Path) -> None:
        if not tree and path:
            found.add(path)
        for key, inner in tree.items():
            walk(inner, (*path, key.removeprefix("f:")))

    walk(entry["fieldsV1"], ())
    return frozenset(found)


def _entry(manager: str, operation: str, obj: Object, fields: Fields, time: str) -> Object:
    tree: Object = {}
    for path in sorted(fields):
        branch = tree
        for key in path:
            branch = branch.setdefault(f"f:{key}", {})
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": obj["apiVersion"],
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": tree,
    }


def _is(entry: Object, manager: str, operation: str) -> bool:
    return bool(entry["manager"] == manager and entry["operation"] == operation)


def _with(obj: Object, entries: list[Object]) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    if entries:
        metadata["managedFields"] = sorted(entries, key=lambda entry: str(entry["operation"]))
    return {**obj, "metadata": metadata}


def _without(entries: list[Object], fields: Fields, obj: Object) -> list[Object]:
    """The entries less some fields; an entry that has none left goes."""
    left = []
    for entry in entries:
        if kept := _read(entry) - fields:
            tree = _entry("", "", obj, kept, "")["fieldsV1"]
            left.append({**entry, "fieldsV1": tree})
    return left


def created(obj: Object, manager: str, time: str) -> Object:
    """A new object, every field of which its creator manages."""
    fields = fields_of(obj)
    return _with(obj, [_entry(manager, "Update", obj, fields, time)] if fields else [])


def updated(obj: Object, before: Object, manager: str, time: str) -> Object:
    """An object after an update: what changed is the updater's.

    What was made without managedFields stays without them until somebody applies to it.
    """
    entries = before["metadata"].get("managedFields", [])
    if not entries:
        return _with(obj, [])
    old, new = fields_of(before), fields_of(obj)
    changed = frozenset(
        path for path in new if path not in old or value_at(obj, path) != value_at(before, path)
    )
    own = [entry for entry in entries if _is(entry, manager, "Update")]
    entries = _without(entries, changed | (old - new), obj)
    if changed:
        kept = frozenset().union(*(_read(entry) for entry in own)) - (old - new)
        entries = [entry for entry in entries if not _is(entry, manager, "Update")]
        entries.append(_entry(manager, "Update", obj, kept | changed, time))
    return _with(obj, entries)


def applied(live: Object | None, wanted: Object, manager: str, time: str, *, force: bool) -> Object:
    """The object after an apply. Raises the 409 where others manage a field and say otherwise."""
    fields = fields_of(wanted)
    if live is None:
        return _with(wanted, [_entry(manager, "Apply", wanted, fields, time)])
    entries = live["metadata"].get("managedFields", [])
    if not entries and fields_of(live):
        entries = [_entry(BEFORE_FIRST_APPLY, "Update", live, fields_of(live), time)]
    others = [entry for entry in entries if not _is(entry, manager, "Apply")]
    own = [_read(entry) for entry in entries if _is(entry, manager, "Apply")]
    differing = {path for path in fields if not _agree(live, wanted, path)}
    conflicts = [(entry, path) for entry in others for path in sorted(_read(entry) & differing)]
    if conflicts and not force:
        raise _conflict(conflicts)
    others = _without(others, frozenset(differing), live)
    kept_by_others = frozenset().union(*(_read(entry) for entry in others))
    dropped = frozenset().union(*own) - fields - kept_by_others
    merged = _merge(live, wanted, fields, dropped)
    return _with(merged, [*others, _entry(manager, "Apply", merged, fields, time)])


def _agree(live: Object, wanted: Object, path: Path) -> bool:
    """Whether two objects say the same; an empty map says nothing of what is in it."""
    here, there = value_at(live, path), value_at(wanted, path)
    return bool(here == there or (there == {} and isinstance(here, dict)))


def _merge(live: Object, wanted: Object, fields: Fields, dropped: Fields) -> Object:
    merged = copy.deepcopy(live)
    for path in dropped:
        _drop(merged, path)
    for path in fields:
        branch = merged
        for key in path[:-1]:
            if not isinstance(branch.get(key), dict):
                branch[key] = {}
            branch = branch[key]
        value = value_at(wanted, path)
        if value != {} or not isinstance(branch.get(path[-1]), dict):
            branch[path[-1]] = copy.deepcopy(value)
    return merged


def _drop(obj: Object, path: Path) -> None:
    """Take a field away, and the maps that are empty without it."""
    while path:
        parent = value_at(obj, path[:-1])
        inner = value_at(obj, path)
        if not isinstance(parent, dict) or (isinstance(inner, dict) and inner):
            return
        parent.pop(path[-1], None)
        if parent or len(path) == 1 or path[:-1] == ("metadata",):
            return
        path = path[:-1]


def _conflict(conflicts: list[tuple[Object, Path]]) -> StatusError:
    told = [(_manager(entry), "." + ".".join(path)) for entry, path in conflicts]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in told
    ]
    if len(told) == 1:
        message = f"Apply failed with 1 conflict: conflict with {told[0][0]}: {told[0][1]}"
    else:
        lines: dict[str, str] = {}
        for manager, path in sorted(told):
            lines[manager] = lines.get(manager, f"conflicts with {manager}:") + f"\n- {path}"
        message = f"Apply failed with {len(told)} conflicts: " + "\n".join(lines.values())
    return StatusError(409, "Conflict", message, {"causes": causes})


def _manager(entry: Object) -> str:
    using = f" using {entry['apiVersion']}" if entry["operation"] == "Update" else ""
    return quote(entry["manager"]) + using
