"""A credentials file as it is read: its bytes, and the fields in them.

`read_source` gets no further than the bytes. They are the identity that a cached token belongs to,
and all that the cached path of `daypass token` needs: what parsing needs is imported in functions.
"""

from __future__ import annotations

import os

from daypass._core.files import UnsafeFileError, fingerprint, read_private
from daypass._core.record import Record
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


LIMIT_BYTES = 64 * 1024
FILE_VARIABLE = "DAYPASS_CREDENTIALS"
"""The variable with the path of the credentials file."""
IDENTITY_KEYS = ("namespace", "serviceAccount", "secretName")
_KEYS = (
    "type", "version", "door", "certificateAuthority", "token", "audience", "lifetimeSeconds",
    *IDENTITY_KEYS,
)  # fmt: skip


class CredentialsSource(Record):
    """The content of a credentials file.

    `origin`: its path. `fingerprint`: that of the file before it was read; empty for a test's own.
    """

    origin: str
    document: bytes
    fingerprint: str = ""

    def identity(self) -> list[bytes]:
        """Return everything that these credentials consist of, for a cache key.

        The folder is a part of it: a document may name a file by a relative path.
        """
        return [os.fsencode(os.path.dirname(os.path.abspath(self.origin))), self.document]


def read_source(environ: Mapping[str, str], path: str | None = None) -> CredentialsSource:
    """Return the credentials in the file `path`, or else in the one that DAYPASS_CREDENTIALS names.

    Raises CredentialsError.
    """
    what = "the credentials file"
    if path is None:
        path, what = environ.get(FILE_VARIABLE), f"the credentials file in {FILE_VARIABLE}"
    if not path:
        raise CredentialsError(
            "no credentials are configured",
            f"set {FILE_VARIABLE} to the path of your credentials file",
            reason="no-credentials",
        )
    seen = fingerprint(path)  # before it is read
    document = read_secret_file(path, what, is_public=_holds_no_secret)
    return CredentialsSource(origin=path, document=document, fingerprint=seen)


def _holds_no_secret(document: bytes) -> bool:
    """Return whether a file only says where its token is (not by a program's arguments)."""
    import json

    from daypass._core.secret import redact

    try:
        fields = json.loads(document)
        token, text = fields.get("token"), str(fields)
    except (ValueError, RecursionError, AttributeError):
        return False
    is_elsewhere = isinstance(token, dict) and token.keys() <= {"file", "github", "variable"}
    return is_elsewhere and redact(text) == text


def read_secret_file(
    path: str, what: str, is_public: Callable[[bytes], bool] | None = None
) -> bytes:
    """Return the content of a file that only this user can read, or that is mounted for the user
    (see `read_private`), up to LIMIT_BYTES. Raises CredentialsError."""
    try:
        return read_private(path, limit_bytes=LIMIT_BYTES, may_be_mounted=True, is_public=is_public)
    except UnsafeFileError as error:
        problem = CredentialsError(
            f"{what} is not used: {error.fact}", error.hint, reason="unsafe-file"
        )
    except (OSError, ValueError) as error:
        problem = _unreadable(path, what, error)
    raise problem  # not inside `except`: the error of the OS quotes the path, and would be context


def _unreadable(path: str, what: str, error: OSError | ValueError) -> CredentialsError:
    from daypass._core.secret import redact  # users do put a token where its path belongs

    # ValueError: a NUL in the path
    cause = (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
    hint = "is the path right?"
    if isinstance(error, PermissionError):
        hint = f"user {os.geteuid()} needs read access: `namei -l PATH` shows what denies it"
    fact = f"{what} cannot be read: {redact(os.path.abspath(path))}: {cause}"
    return CredentialsError(fact, hint, reason="unreadable-file")


def fields_of(document: bytes, origin: str) -> dict[str, Any]:
    """Return the fields of a credentials file; raises CredentialsError."""
    import json

    value, line = None, ""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError) as error:
        line = f": line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
    fields = value if isinstance(value, dict) else {}
    version = fields.get("version")
    problem = f"is not valid JSON{line}"
    if value is not None:
        problem = 'does not contain "type": "daypass" and "version": 1'
    if fields.get("type") != "daypass" or type(version) is not int or version != 1:
        hint = "was the whole file copied? `daypass identity create` writes a credentials file"
        raise CredentialsError(f"{origin} {problem}", hint, reason="not-a-credentials-file")
    for key in fields:
        if key not in _KEYS:
            raise _unknown_key(key, origin)
    return fields


def _unknown_key(key: str, origin: str) -> CredentialsError:
    from daypass._core.secret import redact
    from daypass._core.text import did_you_mean, printable

    return CredentialsError(
        f"{origin} has the unknown key {printable(redact(key), 40)!r}",
        did_you_mean(key, _KEYS, f"known keys: {', '.join(_KEYS)}"),
        reason="unknown-key",
    )
