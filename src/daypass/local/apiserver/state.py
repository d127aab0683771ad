"""The state file, which keeps objects, keys and the admin token between runs, and a new Api.

The file is written whole after every request that has changed something. A file that cannot be
read is refused.
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
from daypass.local.apiserver.kinds import STORED
from daypass.local.apiserver.requests import ServerContext, ServerSettings
from daypass.local.apiserver.schema import ObjectReader, ShapeError
from daypass.local.apiserver.store import Object, Store
from daypass.local.apiserver.tokens import Issuer, KeyRing, SigningKey, TokenAuthenticator

FORMAT = 1
LIMIT_BYTES = 256 * 1024 * 1024
_KINDS = {(kind.api_version, kind.kind): kind for kind in STORED}
_FORMER_KINDS = (("v1", "Pod"), ("v1", "Node"))
"""Kinds that older versions stored."""


class StateFileError(DaypassError):
    """The state file is damaged, or of another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """The content of a state file."""

    admin_token: Secret
    keys: tuple[SigningKey, ...]
    version: int
    objects: tuple[Object, ...]


def make_api(
    settings: ServerSettings,
    clock: Clock,
    *,
    anonymous: bool = True,
    state_file: Path | None = None,
) -> Api:
    """Return an Api without a socket. Raises StateFileError, UnsafeFileError, OSError."""
    store = Store()
    state = None if state_file is None else _load(state_file)
    if state is None:
        token, keys = Secret(secrets.token_urlsafe(32)), [SigningKey.generate()]
    else:
        token, keys = state.admin_token, list(state.keys)
        for obj in state.objects:
            store.load(_KINDS[obj["apiVersion"], obj["kind"]], obj)
        # No watch can start before this point.
        store.version = store.forgotten = state.version
    ring = KeyRing(keys)
    issuer = Issuer(
        store=store, keys=ring, clock=clock, name=settings.issuer, audiences=settings.audiences
    )
    authenticator = TokenAuthenticator(
        issuer=issuer, clock=clock, admin_token=token, anonymous=anonymous
    )
    context = ServerContext(
        settings=settings, store=store, keys=ring, clock=clock, issuer=issuer,
        authenticator=authenticator,
    )  # fmt: skip

    def save() -> None:
        if state_file is not None:
            _save(state_file, token, ring.keys, store)

    api = Api(context, save)
    if state is None:
        save()
    return api


def _save(file: Path, admin_token: Secret, keys: list[SigningKey], store: Store) -> None:
    document = {
        "format": FORMAT,
        "adminToken": admin_token.reveal(),
        "keys": [key.unsafe_pem() for key in keys],
        "resourceVersion": store.version,
        "objects": store.everything(),
    }
    write_private(str(file), json.dumps(document).encode())


def _load(file: Path) -> _State | None:
    """Return the content of a state file, or None if there is none."""
    try:
        raw = read_private(str(file), limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        return None
    hint = f"start afresh with: rm {file} (identities made here are then gone)"
    try:
        return _read(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ShapeError):
        fact = f"{file} is damaged, or was written by another version"
        raise StateFileError(fact, hint) from None


def _read(document: dict[str, Any]) -> _State:
    if document["format"] != FORMAT or not document["keys"]:
        raise ValueError("format")
    known = [
        obj for obj in document["objects"] if (obj["apiVersion"], obj["kind"]) not in _FORMER_KINDS
    ]
    for obj in known:
        metadata = obj["metadata"]
        if not all(isinstance(metadata[key], str) for key in ("name", "uid", "resourceVersion")):
            raise ValueError("metadata")
        ObjectReader().read(obj, _KINDS[obj["apiVersion"], obj["kind"]].shape)
    return _State(
        admin_token=Secret(str(document["adminToken"])),
        keys=tuple(SigningKey.load(pem) for pem in document["keys"]),
        version=int(document["resourceVersion"]),
        objects=tuple(known),
    )
