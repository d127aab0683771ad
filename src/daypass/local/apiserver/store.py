"""Objects, their resourceVersions, and what happened lately. In memory; no judgement.

An object handed to the store or out of it is never changed afterwards: a change is another object.
The caller holds the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from daypass.local.apiserver.kinds import STORED, Kind

Object = dict[str, Any]
REMEMBERED_EVENTS = 1024
"""How far back a watch can start; beyond it is a 410."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvent:
    """One change of one object; `before` is None for ADDED."""

    version: int
    type: str
    kind: Kind
    object: Object
    before: Object | None


@dataclass(slots=True)
class Store:
    """All objects of a server."""

    version: int = 0
    events: deque[StoreEvent] = field(default_factory=lambda: deque(maxlen=REMEMBERED_EVENTS))
    listeners: list[Callable[[StoreEvent], None]] = field(default_factory=list)
    forgotten: int = 0
    """The version up to which events are no longer known."""
    _objects: dict[str, dict[tuple[str, str], Object]] = field(
        default_factory=lambda: {kind.kind: {} for kind in STORED}
    )

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object, or None. `namespace` is empty for what has none."""
        return self._objects[kind.kind].get((namespace, name))

    def every(self, kind: Kind, namespace: str = "") -> list[Object]:
        """All of a kind, of one namespace or of all, in the order of their names."""
        found = sorted(self._objects[kind.kind].items())
        return [obj for (place, _), obj in found if not namespace or place == namespace]

    def put(self, kind: Kind, obj: Object) -> Object:
        """Keep an object under a new resourceVersion; as it was where nothing has changed."""
        before = self.get(kind, *_key(obj))
        if before is not None and _same(before, obj):
            return before
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        kept = {**obj, "metadata": metadata}
        self._objects[kind.kind][_key(obj)] = kept
        self._tell("ADDED" if before is None else "MODIFIED", kind, kept, before)
        return kept

    def remove(self, kind: Kind, obj: Object) -> Object:
        """Forget an object; gives back its last state, under the version of its end."""
        before = self._objects[kind.kind].pop(_key(obj))
        self.version += 1
        metadata = {**before["metadata"], "resourceVersion": str(self.version)}
        gone = {**before, "metadata": metadata}
        self._tell("DELETED", kind, gone, before)
        return gone

    def load(self, kind: Kind, obj: Object) -> None:
        """Put an object back as a snapshot holds it."""
        self._objects[kind.kind][_key(obj)] = obj

    def everything(self) -> list[Object]:
        """Every object there is."""
        return [obj for kind in self._objects.values() for obj in kind.values()]

    def _tell(self, change: str, kind: Kind, obj: Object, before: Object | None) -> None:
        event = StoreEvent(version=self.version, type=change, kind=kind, object=obj, before=before)
        if len(self.events) == REMEMBERED_EVENTS:
            self.forgotten = self.events[0].version
        self.events.append(event)
        for listener in list(self.listeners):
            listener(event)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _same(one: Object, other: Object) -> bool:
    return _without_version(one) == _without_version(other)


def _without_version(obj: Object) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return {**obj, "metadata": metadata}
