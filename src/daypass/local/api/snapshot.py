"""A cluster's state as one private file, so that identities outlive a restart.

Written whole after every request that changed something; read at the start. What cannot be read is
never guessed at: a snapshot is good, or it is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.errors import DaypassError
from daypass._core.files import read_private, write_private
from daypass._core.secret import Secret
from daypass.local.api.keys import SigningKey
from daypass.local.api.kinds import STORED
from daypass.local.api.schema import ShapeError, as_pairs
from daypass.local.api.store import Object, Store

FORMAT = 1
LIMIT_BYTES = 256 * 1024 * 1024
_KINDS = {(kind.group_version, kind.kind): kind for kind in STORED}


class SnapshotError(DaypassError):
    """A state file that is damaged, or of another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a state file holds."""

    admin_token: Secret
    keys: tuple[SigningKey, ...]
    version: int
    objects: tuple[Object, ...]

    def fill(self, store: Store) -> None:
        """Put everything back into an empty store. Watches cannot start before this point."""
        for obj in self.objects:
            store.load(_KINDS[obj["apiVersion"], obj["kind"]], obj)
        store.version = store.forgotten = self.version


def save(file: Path, admin_token: Secret, keys: list[SigningKey], store: Store) -> None:
    """Write the state file, mode 0600, whole or not at all."""
    document = {
        "format": FORMAT,
        "adminToken": admin_token.reveal(),
        "keys": [key.unsafe_pem() for key in keys],
        "resourceVersion": store.version,
        "objects": store.everything(),
    }
    write_private(str(file), json.dumps(document).encode())


def load(file: Path) -> Snapshot | None:
    """What a state file holds, or None where there is none.

    Raises SnapshotError, UnsafeFileError.
    """
    try:
        raw = read_private(str(file), limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        return None
    hint = f"start afresh with: rm {file} (identities made here are then gone)"
    try:
        return _read(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ShapeError):
        raise SnapshotError(f"{file} is damaged, or was written by another version", hint) from None


def _read(document: dict[str, Any]) -> Snapshot:
    if document["format"] != FORMAT or not document["keys"]:
        raise ValueError("format")
    for obj in document["objects"]:
        kind = _KINDS[obj["apiVersion"], obj["kind"]]
        metadata = obj["metadata"]
        if not all(isinstance(metadata[key], str) for key in ("name", "uid", "resourceVersion")):
            raise ValueError("metadata")
        _check(obj, kind.kind)
    return Snapshot(
        admin_token=Secret(str(document["adminToken"])),
        keys=tuple(SigningKey.load(pem) for pem in document["keys"]),
        version=int(document["resourceVersion"]),
        objects=tuple(document["objects"]),
    )


def _check(obj: Object, name: str) -> None:
    from daypass.local.api.decoding import convert

    kind = next(kind for kind in STORED if kind.kind == name)
    convert(as_pairs(obj), kind)
