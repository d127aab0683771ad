"""What the API server works on and keeps, and the state file that outlasts it.

The file is written whole after every request that has changed something. A file that cannot be
read is refused.
"""

from __future__ import annotations

import json
import secrets
import uuid
from pathlib import Path
from typing import Any

from daypass._core.clock import Clock, rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.files import read_private, write_private
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.local.apiserver.kinds import BY_NAME
from daypass.local.apiserver.store import Store
from daypass.local.apiserver.tokens import Issuer, SigningKey, TokenAuthenticator

FORMAT = 2
LIMIT_BYTES = 256 * 1024 * 1024


class StateFileError(DaypassError):
    """The state file is damaged, or of another version."""


class ServerState:
    """Objects and the signing key, those of `file` or new ones, which are saved.

    `certificate_authority`: PEM, for token Secrets. `url`: its own.
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
            token, key = Secret(secrets.token_urlsafe(32)), SigningKey.generate()
        else:
            token, key = Secret(document["adminToken"]), document["key"]
            for obj in document["objects"]:
                self.store.load(BY_NAME[obj["apiVersion"], obj["kind"]], obj)
            # No watch can start before this point.
            self.store.version = self.store.forgotten = document["resourceVersion"]
        self.issuer = Issuer(self.store, key, clock)
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
            "key": self.issuer.key.unsafe_pem(),
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
    """Return the content of a state file, with its key loaded, or None if there is no file."""
    try:
        raw = read_private(str(file), limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        return None
    hint = f"start afresh with: rm {file} (identities made here are then gone)"
    try:
        return _checked(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fact = f"{file} is damaged, or was written by another version"
        raise StateFileError(fact, hint) from None


def _checked(document: dict[str, Any]) -> dict[str, Any]:
    if document["format"] != FORMAT or not document["adminToken"]:
        raise ValueError("format")
    for obj in document["objects"]:
        if fault := BY_NAME[obj["apiVersion"], obj["kind"]].mismatch(obj):
            raise ValueError(fault)
    return {
        **document,
        "key": SigningKey.load(document["key"]),
        "resourceVersion": int(document["resourceVersion"]),
    }
