"""Where credentials stand, read as bytes and not yet understood.

The cached path of `daypass token` gets no further than this: the bytes, all of them, are the
identity that a cached token belongs to. What they mean is `settings`' business.
"""

from __future__ import annotations

import os

from daypass._core.files import UnsafeFileError, fingerprint, read_private
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


LIMIT_BYTES = 64 * 1024
FILE_VARIABLE = "DAYPASS_CREDENTIALS"
FILE_VARIABLES = (FILE_VARIABLE, "DAYPASS_TOKEN_FILE", "DAYPASS_CA_FILE")
"""Those that hold a path."""
FIELD_VARIABLES = (
    "DAYPASS_DOOR",
    "DAYPASS_TOKEN",
    "DAYPASS_TOKEN_FILE",
    "DAYPASS_AUDIENCE",
    "DAYPASS_CA_FILE",
)
_FIELDS = {
    "DAYPASS_DOOR": "door",
    "DAYPASS_TOKEN": "token",
    "DAYPASS_AUDIENCE": "audience",
}


class CredentialsSource:
    """The raw credentials: a whole file as `document`, or the variables' values as `fields`.

    `origin` is the file's path, or None where they came from variables. `files`: what was read, and
    its fingerprint before.
    """

    __slots__ = ("document", "fields", "files", "origin")

    def __init__(
        self,
        *,
        origin: str | None,
        document: bytes = b"",
        fields: dict[str, bytes] | None = None,
        files: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.origin = origin
        self.document = document
        self.fields = fields or {}
        self.files = files

    def __repr__(self) -> str:
        return f"Source(origin={self.origin!r})"

    def identity(self) -> list[bytes]:
        """Everything that these credentials are made of, in one order, for a cache's key.

        The folder counts, as a document may name a file beside it.
        """
        if self.origin is not None:
            folder = os.path.dirname(os.path.abspath(self.origin))
            return [b"file", os.fsencode(folder), self.document]
        parts = [b"variables"]
        for name in sorted(self.fields):
            parts += [name.encode(), self.fields[name]]
        return parts


def read_source(environ: Mapping[str, str], path: str | None = None) -> CredentialsSource:
    """The credentials file `path`, or what the DAYPASS_ variables of `environ` say.

    An empty variable counts as one that is not set. Raises CredentialsError.
    """
    if path is not None:
        return _from_file(path)
    named = [name for name in FIELD_VARIABLES if environ.get(name)]
    file = environ.get(FILE_VARIABLE)
    if file and named:
        raise CredentialsError(
            f"{FILE_VARIABLE} is set, and so is {_listed(named)}",
            f"unset either {FILE_VARIABLE} or {_listed(named)}: a mix of both is never used",
        )
    if file:
        return _from_file(file)
    if not named:
        raise CredentialsError(
            "no credentials are named",
            f"set {FILE_VARIABLE} to the credentials file that you were handed,\n"
            "or DAYPASS_DOOR, DAYPASS_AUDIENCE and DAYPASS_TOKEN_FILE",
        )
    return _from_variables(environ)


def _from_file(path: str) -> CredentialsSource:
    seen = ((path, fingerprint(path)),)
    document = read_secret_file(path, "the credentials file")
    return CredentialsSource(origin=path, document=document, files=seen)


def _from_variables(environ: Mapping[str, str]) -> CredentialsSource:
    token_file, ca_file = environ.get("DAYPASS_TOKEN_FILE"), environ.get("DAYPASS_CA_FILE")
    if token_file and environ.get("DAYPASS_TOKEN"):
        raise CredentialsError(
            "DAYPASS_TOKEN and DAYPASS_TOKEN_FILE are both set", "unset one of them"
        )
    fields = {
        field: os.fsencode(environ[name]) for name, field in _FIELDS.items() if environ.get(name)
    }
    seen = tuple((path, fingerprint(path)) for path in (token_file, ca_file) if path)
    if token_file:
        fields["token"] = read_secret_file(token_file, "the file that DAYPASS_TOKEN_FILE names")
    if ca_file:
        fields["certificateAuthority"] = _read_public_file(ca_file)
    return CredentialsSource(origin=None, fields=fields, files=seen)


def read_secret_file(path: str, what: str) -> bytes:
    """A file that only this user may read, or that is mounted for it (`read_private`), at most
    LIMIT_BYTES; raises CredentialsError."""
    try:
        return read_private(path, limit_bytes=LIMIT_BYTES, may_be_mounted=True)
    except UnsafeFileError as error:
        problem = CredentialsError(f"{what} is not used: {error.fact}", error.hint)
    except (OSError, ValueError) as error:
        problem = _unreadable(path, what, error)
    raise problem  # out here, where the error of the machine, which quotes the path, is no context


def _read_public_file(path: str) -> bytes:
    what = "the file that DAYPASS_CA_FILE names"
    try:
        with open(path, "rb") as file:
            content = file.read(16 * LIMIT_BYTES + 1)
        if len(content) <= 16 * LIMIT_BYTES:
            return content
        problem = CredentialsError(f"{what} is larger than 1 MiB", "name a file of certificates")
    except (OSError, ValueError) as error:
        problem = _unreadable(path, what, error)
    raise problem


def _unreadable(path: str, what: str, error: OSError | ValueError) -> CredentialsError:
    from daypass._core.redact import redact  # a token where its file's path should be: it happens

    # ValueError: a NUL in the path
    reason = (error.strerror if isinstance(error, OSError) else None) or "no such name is possible"
    hint = "is the path right?"
    if isinstance(error, PermissionError):
        hint = f"user {os.geteuid()} has to be let in: `namei -l PATH` shows where it is not"
    elif "{" in path:
        hint = "it takes the path of a file, not what stands in it"
    return CredentialsError(f"{what} cannot be read: {redact(path)}: {reason}", hint)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
