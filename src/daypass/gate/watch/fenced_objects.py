"""Objects of a cluster that one leader at a time writes.

Each has the term of the leader that wrote it. A new leader first writes its term on all of them,
and every later write names the version of the object that it replaces. So a leader that was paused,
or cut off, cannot write any more: the API server refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Literal, TypeAlias

from daypass._core.errors import DaypassError
from daypass._core.kubernetes.labels import TERM
from daypass._core.kubernetes.objects import Object, name_of
from daypass.gate.watch.schedule import Number
from daypass.kube.answers import METADATA
from daypass.kube.cluster import APPLY, JSON_PATCH, Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.lease import Lease

LIMIT_TERM = 2**30
"""Beyond every term that a watch reaches; a Lease takes twice as much."""
CHECKED_AT_ONCE = 3
"""Objects of one place; all of them within 30 s."""

Item: TypeAlias = Number | Literal["keys"]
"""What an object has: a shard, the denials (None), or the signing keys."""

_HEAD = ("apiVersion", "kind", "metadata")
_ONLY_METADATA = {"Accept": METADATA.format("")}


class FencedObjects:
    """The objects of one place, one for each item, written in terms of a lease.

    Every method raises the errors of `daypass.kube.errors`. Not safe to share between threads.
    """

    def __init__(self, cluster: Cluster, lease: Lease) -> None:
        self._cluster = cluster
        self._lease = lease
        # Path and version of what is known; first, what was checked longest ago.
        self._known: dict[Item, tuple[str, str]] = {}

    def find(self, documents: Mapping[Item, Object]) -> dict[Item, Object | None]:
        """Return objects as they are, if there are any, and know their versions from then on."""
        return {item: self._look(item, self._path(each)) for item, each in documents.items()}

    def write(self, item: Item, document: Object, *, only_term: bool = False) -> None:
        """Write the term and the content of an object in place of the version that is known; if
        none is, create it whole. Raises ConflictError or NotFoundError if it has changed since.

        A JSON patch leaves nothing of what was there, as a merge patch would: a label that no
        longer selects the gateway's pods, or what someone else has added. No two leaders create the
        same object: each has a field manager of its own, and does not take fields from another.
        """
        known, term = self._known.pop(item, None), {TERM: str(self._lease.term)}
        if known is None:
            path, metadata = self._path(document), {**document["metadata"], "annotations": term}
            change: object = {**document, "metadata": metadata}
            content_type, manager = APPLY, f"daypass-watch-{self._lease.term}"
            params = {"fieldManager": manager, "force": "false"}
        else:
            path, version = known
            values = {"metadata/resourceVersion": version, "metadata/annotations": term}
            values |= {} if only_term else _content(document)
            change = [
                {"op": "add", "path": f"/{at}", "value": value} for at, value in values.items()
            ]
            content_type, params = JSON_PATCH, {"fieldManager": "daypass-watch"}
        written = self._cluster.request(
            "PATCH",
            path,
            change,
            content_type=content_type,
            params=params,
            headers=_ONLY_METADATA,
            what=f"publish {document['kind']} {name_of(document)}",
        )
        self._known[item] = path, _version(written)

    def overwrite(self, item: Item, document: Object) -> None:
        """Write as `write`, whatever others have made of the object. Raises DaypassError unless the
        Lease says that this process has led since its term: they may be a later leader.
        """
        if item in self._known:
            with suppress(ConflictError, NotFoundError):
                return self.write(item, document)
        self._look(item, self._path(document))
        # After that: a later leader than it finds here gives the object another version.
        term = self._lease.term
        self._lease.attempt()
        if not self._lease.is_held or self._lease.term != term:
            raise DaypassError("another process publishes in a later term")
        return self.write(item, document)

    def changed(self) -> list[tuple[Item, str]]:
        """Look at the objects whose turn it is; return items and paths of those that others have
        changed. Their versions are no longer known.
        """
        found = []
        for item in [*islice(self._known, CHECKED_AT_ONCE)]:
            before = path, _ = self._known[item]
            self._look(item, path, _ONLY_METADATA)
            if self._known.get(item) != before:
                self._known.pop(item, None)
                found.append((item, path))
        return found

    def _path(self, document: Object) -> str:
        """Return an object's path. Raises NotFoundError for an unknown kind."""
        namespace = document["metadata"]["namespace"]
        return self._cluster.resource(document).path(namespace, name_of(document))

    def _look(self, item: Item, path: str, headers: dict[str, str] | None = None) -> Object | None:
        """Return an object, if there is one, and know its version."""
        self._known.pop(item, None)
        try:
            found = self._cluster.request("GET", path, headers=headers, what=f"get {path}")
        except NotFoundError:
            return None
        self._known[item] = path, _version(found)
        return found


def term_of(document: Object) -> int:
    """Return the term in an object's annotation; 0 if no watch has written it."""
    text = str((document["metadata"].get("annotations") or {}).get(TERM))
    term = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    return term if term < LIMIT_TERM else 0


def is_as(found: Object | None, document: Object) -> bool:
    """Return whether an object is there and has the content of a document."""
    return found is not None and _content(document).items() <= _content(found).items()


def _content(document: Object) -> Object:
    """Return what a document replaces in an object, by path."""
    content = {key: value for key, value in document.items() if key not in _HEAD}
    return {"metadata/labels": document["metadata"].get("labels"), **content}


def _version(document: Object) -> str:
    return str(document["metadata"]["resourceVersion"])
