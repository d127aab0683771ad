"""A cluster's state as one private file, so that identities outlive a restart.

Written whole after every request that changed something; read at the start. What cannot be read is
never guessed at: a snapshot is good, or it is refused.

The parts of an API server put together, as they were kept or anew.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.files import read_private, write_private
from daypass._core.secret import Secret
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.authentication import Authenticator
from daypass.local.apiserver.cluster import ServerContext, ServerSettings
from daypass.local.apiserver.kinds import STORED
from daypass.local.apiserver.schema import ShapeError, as_pairs
from daypass.local.apiserver.store import Object, Store
from daypass.local.apiserver.tokens import Issuer, KeyRing, SigningKey

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
    from daypass.local.apiserver.decoding import convert

    kind = next(kind for kind in STORED if kind.kind == name)
    convert(as_pairs(obj), kind)


def assemble(
    settings: ServerSettings,
    clock: Clock,
    *,
    anonymous: bool = True,
    state_file: Path | None = None,
) -> Api:
    """An Api without a socket. Raises SnapshotError, UnsafeFileError, OSError."""
    store = Store()
    known = None if state_file is None else load(state_file)
    if known is None:
        token, keys = Secret(secrets.token_urlsafe(32)), [SigningKey.generate()]
    else:
        token, keys = known.admin_token, list(known.keys)
        known.fill(store)
    ring = KeyRing(keys)
    issuer = Issuer(
        store=store, keys=ring, clock=clock, name=settings.issuer, audiences=settings.audiences
    )
    cluster = ServerContext(
        settings=settings,
        store=store,
        keys=ring,
        clock=clock,
        issuer=issuer,
        authenticator=Authenticator(
            issuer=issuer, clock=clock, admin_token=token, anonymous=anonymous
        ),
    )

    def save_state() -> None:
        if state_file is not None:
            save(state_file, token, ring.keys, store)

    api = Api(cluster, save_state)
    if known is None:
        save_state()
    return api
