"""The state of a controller: in a file on one machine, in ConfigMaps in a cluster.

`daypass-gate-known` holds what is refused, since when, and how it is published. It changes with
each revocation. A writer replaces exactly the version that it read and otherwise starts over, so
two writers lose nothing.

`daypass-gate-known-0` to `-f` hold the UIDs of all objects that exist, so that a deletion while no
controller runs is noticed. There are sixteen, each for the UIDs that begin with its digit, since
one ConfigMap could not hold them all (1 MiB), and so that a new UID rewrites only one of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daypass._core.errors import DaypassError
from daypass._core.files import UnsafeFileError, read_private, write_private
from daypass._core.hints import kubectl
from daypass._core.status import Status
from daypass.gate.revocation.compressed_json import compress, decompress
from daypass.gate.revocation.revocation_list import FORMAT, ObjectKind, no_known_uids
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import CONFIG_MAPS, Object
from daypass.render.objects import GATE_KNOWN, KNOWN_PARTS, known_name

LIMIT_FILE_BYTES = 256 * 1024 * 1024
LIMIT_BYTES = 64 * 1024 * 1024
"""The uncompressed content of one ConfigMap, which holds 1 MiB compressed."""
_CONTENT, _NUMBER = "content.json.gz", "number"
WITHOUT_RECORD = "Tokens issued before are then refused; clients get new ones automatically"
"""The consequence of removing a damaged record."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationState:
    """The content of `daypass-gate-known`. `number` grows with each change; 0 if there is none.

    `refused`: a result of `RevocationList.record`, without known UIDs. `published`: how it is
    published.
    """

    number: int = 0
    refused: Record = field(
        default_factory=lambda: {"format": FORMAT, "gone": {}, "namespaces": {}}
    )
    published: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


class RecordError(DaypassError):
    """The record of an earlier run can't be read."""


class FileStore:
    """A file with mode 0600; None to remember nothing. Not safe to share between threads.

    `last_error`: why the last record could not be written, or "". A list is published nevertheless.
    """

    pace_seconds = 0.0
    shards: frozenset[str] = frozenset()

    def __init__(self, file: Path | None) -> None:
        self.last_error = ""
        self._file = file
        self._refused: Record = {}
        self._known: Record = no_known_uids()

    def read(self) -> RevocationState:
        """Return what was recorded, without known UIDs. Raises RecordError."""
        if self._file is None:
            return RevocationState()
        try:
            record = json.loads(read_private(str(self._file), limit_bytes=LIMIT_FILE_BYTES))
        except FileNotFoundError:
            return RevocationState()
        except (OSError, ValueError, RecursionError, UnsafeFileError) as error:
            raise RecordError(
                f"{self._file}, which says what was revoked, cannot be read: {error}",
                f"remove it, and start again. {WITHOUT_RECORD}",
            ) from None
        self._refused = record if isinstance(record, dict) else {}
        self._known = self._refused.pop("known", {})
        return RevocationState(number=1, refused=self._refused)

    def read_known(self) -> Record:
        """Return the known UIDs that `read` found."""
        return self._known

    def write(
        self, read: RevocationState, record: Record, published: Mapping[str, Any]
    ) -> RevocationState:
        """Replace the record."""
        self._refused = {name: value for name, value in record.items() if name != "known"}
        self._save(record["known"])
        return RevocationState(number=read.number + 1, refused=self._refused)

    def write_known(self, known: Record) -> None:
        """Replace the known UIDs. A record begins with `write`."""
        if self._refused and known != self._known:
            self._save(known)

    def damaged(self) -> RecordError:
        """Return the error for a file that is not a record."""
        return RecordError(
            "revocations.json in the state folder is damaged, or was written by another version",
            f"remove it, and start again. {WITHOUT_RECORD}",
        )

    def _save(self, known: Record) -> None:
        self._known = known
        if self._file is None:
            return
        try:
            write_private(str(self._file), json.dumps({**self._refused, "known": known}).encode())
            self.last_error = ""
        except OSError as error:
            why = error.strerror or error
            self.last_error = f"{self._file}, the record of revocations, cannot be written: {why}"


class StateStore:
    """The ConfigMaps in a namespace. Every method raises RecordError and the errors of
    `daypass.kube.errors`: nothing is published without its record. Not safe to share between
    threads.
    """

    pace_seconds = 1.0
    """Between two writes of known UIDs."""
    last_error = ""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._shards: dict[str, tuple[str, Record | None]] = {}
        """Version and content by shard; None if there is no content, not even an empty one."""

    def read(self) -> RevocationState:
        """Return the current record, without known UIDs."""
        found = self._cluster.find(CONFIG_MAPS, GATE_KNOWN, self._namespace)
        return RevocationState() if found is None else _recorded(found)

    def write(
        self, read: RevocationState, record: Record, published: Mapping[str, Any]
    ) -> RevocationState:
        """Replace the record that was read. Raises ConflictError if another writer did."""
        version = read.version or self._version_of(GATE_KNOWN)
        if not read.version and self.read().number:
            raise _changed(self._namespace)
        refused = {name: value for name, value in record.items() if name != "known"}
        # Even after a record was lost, objects made from the next one have to be newer.
        number = max(read.number + 1, int(self._cluster.clock.unix() * 1000))
        change = _change(version, {"refused": refused, **published})
        change["data"] = {_NUMBER: str(number)}
        written = self._cluster.patch(CONFIG_MAPS, GATE_KNOWN, change, self._namespace)
        return RevocationState(
            number=number,
            refused=refused,
            published=published,
            version=str(written["metadata"]["resourceVersion"]),
        )

    def read_known(self) -> Record:
        """Return all known UIDs, as in `RevocationList.record`."""
        known: Record = no_known_uids()
        for shard in KNOWN_PARTS:
            found = self._cluster.find(CONFIG_MAPS, known_name(shard), self._namespace)
            content = None if found is None else _content(found)
            version = "" if found is None else str(found["metadata"]["resourceVersion"])
            self._shards[shard] = version, content
            for kind in ObjectKind:
                known[kind].update((content or {}).get(kind, {}))
        return known

    @property
    def shards(self) -> frozenset[str]:
        """The ConfigMaps of known UIDs that exist, as last read or written. One is empty if the
        last object with its digit was deleted.
        """
        return frozenset(
            shard for shard, (_, content) in self._shards.items() if content is not None
        )

    def damaged(self) -> RecordError:
        """Return the error for a ConfigMap that is not a record."""
        return _damaged(self._namespace, GATE_KNOWN)

    def write_known(self, known: Record) -> None:
        """Write the ConfigMaps whose UIDs changed. Raises ConflictError if another writer changed
        one: then call `read_known` again.
        """
        for shard, content in _divided(known):
            version, before = self._shards.get(shard, ("", None))
            if content == (before or {}):
                continue
            name = known_name(shard)
            change = _change(version or self._version_of(name), content)
            written = self._cluster.patch(CONFIG_MAPS, name, change, self._namespace)
            self._shards[shard] = str(written["metadata"]["resourceVersion"]), content

    def _version_of(self, name: str) -> str:
        """Return the version of a ConfigMap, creating it if needed; its content stays."""
        metadata = {"name": name, "namespace": self._namespace}
        made = self._cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        return str(made["metadata"]["resourceVersion"])


def _change(version: str, content: Mapping[str, Any]) -> Object:
    """Return a merge patch for this version. (An apply would own the content, and `_version_of`
    applies without it.)
    """
    return {"metadata": {"resourceVersion": version}, "binaryData": {_CONTENT: compress(content)}}


def _divided(known: Record) -> Iterator[tuple[str, Record]]:
    parts: dict[str, Record] = {shard: no_known_uids() for shard in KNOWN_PARTS}
    for kind in ObjectKind:
        for uid, namespace in known[kind].items():
            parts[uid[:1] if uid[:1] in parts else KNOWN_PARTS[0]][kind][uid] = namespace
    for shard, content in parts.items():
        yield shard, content if any(content.values()) else {}


def _recorded(found: Object) -> RevocationState:
    content, metadata = _content(found), found["metadata"]
    version = str(metadata["resourceVersion"])
    if not content:  # created, and not written yet
        return RevocationState(version=version)
    try:
        number = int(found["data"][_NUMBER])
        refused = dict(content.pop("refused"))
        if refused["format"] != FORMAT:
            raise ValueError("format")
    except (KeyError, ValueError, TypeError):
        raise _damaged(str(metadata.get("namespace")), str(metadata.get("name"))) from None
    return RevocationState(number=number, refused=refused, published=content, version=version)


def _content(found: Object) -> Record | None:
    packed = (found.get("binaryData") or {}).get(_CONTENT)
    if packed is None:
        return None
    try:
        content = decompress(packed, LIMIT_BYTES)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        metadata = found["metadata"]
        raise _damaged(str(metadata.get("namespace")), str(metadata.get("name")))
    return content


def _damaged(namespace: str, name: str) -> RecordError:
    return RecordError(
        f"ConfigMap {namespace}/{name}, the record of revocations, cannot be read",
        f"was it edited? Delete it. {WITHOUT_RECORD}:\n"
        + kubectl("delete", "configmap", name, "-n", namespace),
    )


def _changed(namespace: str) -> ConflictError:
    fact = f"ConfigMap {namespace}/{GATE_KNOWN} was changed by another writer"
    return ConflictError(Status({"kind": "Status", "code": 409, "message": fact}), fact, "")
