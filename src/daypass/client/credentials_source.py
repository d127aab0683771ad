"""Credentials as they are read: the bytes of a file or of variables, and the fields in them.

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
FILE_VARIABLES = (FILE_VARIABLE, "DAYPASS_TOKEN_FILE", "DAYPASS_CA_FILE")
"""Those that hold a path."""
FIELD_VARIABLES = (
    "DAYPASS_DOOR", "DAYPASS_TOKEN", "DAYPASS_TOKEN_FILE", "DAYPASS_AUDIENCE", "DAYPASS_CA_FILE",
)  # fmt: skip
FIELDS = {"DAYPASS_DOOR": "door", "DAYPASS_TOKEN": "token", "DAYPASS_AUDIENCE": "audience"}
IDENTITY_KEYS = ("namespace", "serviceAccount", "secretName")
_KEYS = (
    "type", "version", "door", "certificateAuthority", "token", "audience", "lifetimeSeconds",
    *IDENTITY_KEYS,
)  # fmt: skip


class CredentialsSource(Record):
    """Raw credentials: a whole file as `document`, or the variables' values as `fields`.

    `origin` is the file's path, or None if they came from variables. `files`: what was read, with
    its fingerprint before.
    """

    origin: str | None
    document: bytes = b""
    fields: Mapping[str, bytes] = {}
    files: tuple[tuple[str, str], ...] = ()

    def identity(self) -> list[bytes]:
        """Return everything that these credentials consist of, in a fixed order, for a cache key.

        The folder is a part of it: a document may name a file by a relative path.
        """
        if self.origin is not None:
            folder = os.path.dirname(os.path.abspath(self.origin))
            return [b"file", os.fsencode(folder), self.document]
        parts = [b"variables"]
        for name in sorted(self.fields):
            parts += [name.encode(), self.fields[name]]
        return parts


def read_source(environ: Mapping[str, str], path: str | None = None) -> CredentialsSource:
    """Return the credentials in the file `path`, or else those of the DAYPASS_ variables.

    An empty variable is treated as unset. Raises CredentialsError.
    """
    if path is not None:
        return _read_file(path)
    named = [name for name in FIELD_VARIABLES if environ.get(name)]
    file = environ.get(FILE_VARIABLE)
    if file and named:
        names = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
        raise CredentialsError(
            f"{FILE_VARIABLE} and {names} are both set",
            f"unset either {FILE_VARIABLE} or {names}: they are never combined",
            reason="conflicting-variables",
        )
    if file:
        return _read_file(file, f"the credentials file in {FILE_VARIABLE}")
    if not named:
        raise CredentialsError(
            "no credentials are configured",
            f"set {FILE_VARIABLE} to your credentials file,\n"
            "or set DAYPASS_DOOR, DAYPASS_AUDIENCE and DAYPASS_TOKEN_FILE",
            reason="no-credentials",
        )
    return _read_variables(environ)


def _read_file(path: str, what: str = "the credentials file") -> CredentialsSource:
    seen = ((path, fingerprint(path)),)
    document = read_secret_file(path, what, is_public=_holds_no_secret)
    return CredentialsSource(origin=path, document=document, files=seen)


def _read_variables(environ: Mapping[str, str]) -> CredentialsSource:
    token_file, ca_file = environ.get("DAYPASS_TOKEN_FILE"), environ.get("DAYPASS_CA_FILE")
    if token_file and environ.get("DAYPASS_TOKEN"):
        raise CredentialsError(
            "DAYPASS_TOKEN and DAYPASS_TOKEN_FILE are both set",
            "unset one of them",
            reason="conflicting-variables",
        )
    fields = {
        field: os.fsencode(environ[name]) for name, field in FIELDS.items() if environ.get(name)
    }
    seen = tuple((path, fingerprint(path)) for path in (token_file, ca_file) if path)
    if token_file:
        what = "the file in DAYPASS_TOKEN_FILE"
        fields["token"] = read_secret_file(token_file, what)
    if ca_file:
        fields["certificateAuthority"] = _read_authority_file(ca_file)
    return CredentialsSource(origin=None, fields=fields, files=seen)


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


def _read_authority_file(path: str) -> bytes:
    what = "the file in DAYPASS_CA_FILE"
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        problem = _unreadable(path, what, error)
    raise problem


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
