"""What the API server works on and keeps, and the state file that outlasts it.

The file is written whole after every request that has changed something. A file that cannot be
read is refused.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from pathlib import Path
from typing import Any

from daypass._core.clock import Clock, rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.files import read_private, write_private
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.local.apiserver.kinds import STORED
from daypass.local.apiserver.schema import ShapeError, read
from daypass.local.apiserver.store import Store
from daypass.local.apiserver.tokens import Issuer, KeyRing, SigningKey, TokenAuthenticator

FORMAT = 1
LIMIT_BYTES = 256 * 1024 * 1024
_KINDS = {(kind.api_version, kind.kind): kind for kind in STORED}
_ADMIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class StateFileError(DaypassError):
    """The state file is damaged, or of another version."""


class ServerState:
    """Objects, keys and what every handler needs: those of `file`, or new ones, which are saved.

    `certificate_authority`: PEM, for token Secrets and kube-root-ca.crt. `url`: its own.
    `file`: None to keep nothing. Raises StateFileError, UnsafeFileError, OSError.
    """

    def __init__(
        self, *, certificate_authority: str, url: str, clock: Clock, file: Path | None = None
    ) -> None:
        self.certificate_authority = certificate_authority
        self.url = url
        self.clock = clock
        self.store = Store()
        self._file = file
        document = None if file is None else _load(file)
        if document is None:
            token, keys = Secret(secrets.token_urlsafe(32)), KeyRing([SigningKey.generate()])
        else:
            token, keys = Secret(document["adminToken"]), KeyRing(document["keys"])
            for obj in document["objects"]:
                self.store.load(_KINDS[obj["apiVersion"], obj["kind"]], obj)
            # No watch can start before this point.
            self.store.version = self.store.forgotten = document["resourceVersion"]
        self.issuer = Issuer(self.store, keys, clock)
        self.authenticator = TokenAuthenticator(self.issuer, token)
        if document is None:
            self.save()

    def save(self) -> None:
        """Write the state file, if there is one. Raises OSError."""
        if self._file is None:
            return
        document = {
            "format": FORMAT,
            "adminToken": self.authenticator.admin_token.reveal(),
            "keys": [key.unsafe_pem() for key in self.issuer.keys.keys],
            "resourceVersion": self.store.version,
            "objects": self.store.everything(),
        }
        write_private(str(self._file), json.dumps(document).encode())

    def now(self) -> str:
        return rfc3339(utc(self.clock.unix()))

    def with_identity(self, obj: Object) -> Object:
        """Return a new object with a UID and its creation time."""
        identity = {"uid": str(uuid.uuid4()), "creationTimestamp": self.now()}
        return {**obj, "metadata": {**obj["metadata"], **identity}}


def _load(file: Path) -> dict[str, Any] | None:
    """Return the content of a state file, with its keys loaded, or None if there is no file."""
    try:
        raw = read_private(str(file), limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        return None
    hint = f"start afresh with: rm {file} (identities made here are then gone)"
    try:
        return _checked(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ShapeError):
        fact = f"{file} is damaged, or was written by another version"
        raise StateFileError(fact, hint) from None


def _checked(document: dict[str, Any]) -> dict[str, Any]:
    if document["format"] != FORMAT or not document["keys"]:
        raise ValueError("format")
    if not _ADMIN_TOKEN.fullmatch(document["adminToken"]):
        raise ValueError("adminToken")
    for obj in document["objects"]:
        metadata = obj["metadata"]
        if not all(isinstance(metadata[key], str) for key in ("name", "uid", "resourceVersion")):
            raise ValueError("metadata")
        read(obj, _KINDS[obj["apiVersion"], obj["kind"]].shape, "", [])
    return {
        "adminToken": document["adminToken"],
        "keys": [SigningKey.load(pem) for pem in document["keys"]],
        "resourceVersion": int(document["resourceVersion"]),
        "objects": document["objects"],
    }
