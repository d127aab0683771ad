"""The objects of the embedded API server, in memory, with resourceVersions and recent events.

An object in the store is never changed: each change stores a new one. The caller holds the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from daypass._core.kubernetes.objects import Object
from daypass.local.apiserver.kinds import STORED, Kind

REMEMBERED_EVENTS = 1024
"""A watch that starts before the oldest of them gets a 410."""


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
    """All objects. `forgotten`: the version up to which events are no longer known."""

    version: int = 0
    events: deque[StoreEvent] = field(default_factory=lambda: deque(maxlen=REMEMBERED_EVENTS))
    listeners: list[Callable[[StoreEvent], None]] = field(default_factory=list)
    forgotten: int = 0
    _objects: dict[str, dict[tuple[str, str], Object]] = field(
        default_factory=lambda: {kind.kind: {} for kind in STORED}
    )

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, or None. `namespace` is empty for a cluster-scoped kind."""
        return self._objects[kind.kind].get((namespace, name))

    def find_all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Return all objects of a kind, in one namespace or in all, sorted by name."""
        found = sorted(self._objects[kind.kind].items())
        return [obj for (place, _), obj in found if not namespace or place == namespace]

    def put(self, kind: Kind, obj: Object) -> Object:
        """Store an object under a new resourceVersion, unless it is unchanged."""
        before = self.get(kind, *_key(obj))
        if before is not None and _without_version(before) == _without_version(obj):
            return before
        stored = self._versioned(obj)
        self._objects[kind.kind][_key(obj)] = stored
        self._publish("ADDED" if before is None else "MODIFIED", kind, stored, before)
        return stored

    def remove(self, kind: Kind, obj: Object) -> None:
        """Remove an object; watchers see it under the version of the removal."""
        before = self._objects[kind.kind].pop(_key(obj))
        self._publish("DELETED", kind, self._versioned(before), before)

    def load(self, kind: Kind, obj: Object) -> None:
        """Put back an object from a state file, without an event."""
        self._objects[kind.kind][_key(obj)] = obj

    def everything(self) -> list[Object]:
        return [obj for kind in self._objects.values() for obj in kind.values()]

    def _versioned(self, obj: Object) -> Object:
        self.version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}

    def _publish(self, change: str, kind: Kind, obj: Object, before: Object | None) -> None:
        event = StoreEvent(version=self.version, type=change, kind=kind, object=obj, before=before)
        if len(self.events) == REMEMBERED_EVENTS:
            self.forgotten = self.events[0].version
        self.events.append(event)
        for listener in list(self.listeners):
            listener(event)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _without_version(obj: Object) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return {**obj, "metadata": metadata}
