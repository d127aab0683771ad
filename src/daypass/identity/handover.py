"""What a client is handed: the credentials file, all of which but the token is kept as marks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import UnsafeFileError, read_private, write_private
from daypass._core.hints import Placeholder, command
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.client.address import Door
from daypass.client.errors import CredentialsError
from daypass.client.identity import read_identity
from daypass.client.settings import check_audience
from daypass.identity import marks
from daypass.identity.account import Account
from daypass.identity.naming import IdentityName

DEFAULT_LIFETIME_SECONDS = 3600
SHORTEST_LIFETIME_SECONDS, LONGEST_LIFETIME_SECONDS = 600, 2**32
"""Of what a TokenRequest takes (k8s.io/kubernetes/pkg/apis/authentication/validation)."""

LONGEST_AUTHORITY_CHARACTERS = 32 * 1024
"""It goes into the credentials file, of which 64 KiB are read, and into an annotation."""

LIMIT_BYTES = 64 * 1024
"""Of a credentials file, and so of the authority in it."""


class NoHandoverError(UsageError):
    """Nobody has said which door, or which audience, the credentials are for."""


class FileInUseError(DaypassError):
    """The file to write is there already, and holds something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """All of a credentials file but the token. `authority`: PEM, where the door's is private."""

    door: str
    audience: str
    lifetime_seconds: int
    authority: str | None = None

    @classmethod
    def of(cls, account: Account) -> Handover:
        """What the marks of a ServiceAccount say, which others may have written: a door, an
        audience, a lifetime and an authority that clients take. Raises NoHandoverError.
        """
        annotations = account.annotations
        door, audience = annotations.get(marks.DOOR), annotations.get(marks.AUDIENCE)
        name = account.name
        line = command(
            "identity", "create", name.name, "-n", name.namespace,
            "--door", Placeholder("URL"), "--audience", Placeholder("AUDIENCE"),
        )  # fmt: skip
        if not door or not audience:
            raise NoHandoverError(
                f"identity {name} does not say for which door and audience it is", f"say it: {line}"
            )
        authority = annotations.get(marks.AUTHORITY)
        try:
            return cls(
                door=Door.parse(door).url,
                audience=check_audience(audience),
                lifetime_seconds=lifetime_of(annotations.get(marks.LIFETIME, "")),
                authority=None if authority is None else check_authority(authority),
            )
        except DaypassError as error:
            raise NoHandoverError(
                f"the annotations of ServiceAccount {name} fit no credentials: {error.fact}",
                f"were they edited? Say it again: {line}",
            ) from None

    def annotations(self) -> dict[str, str]:
        """The same as marks for a ServiceAccount."""
        said = {
            marks.DOOR: self.door,
            marks.AUDIENCE: self.audience,
            marks.LIFETIME: str(self.lifetime_seconds),
        }
        return said if self.authority is None else {**said, marks.AUTHORITY: self.authority}

    def credentials(self, token: Secret) -> bytes:
        """The credentials file: one line a key, so that `sed` finds the token."""
        document: dict[str, object] = {"type": "daypass", "version": 1, "door": self.door}
        if self.authority is not None:
            document["certificateAuthority"] = self.authority
        document |= {
            "token": token.reveal(),
            "audience": self.audience,
            "lifetimeSeconds": self.lifetime_seconds,
        }
        return json.dumps(document, indent=2).encode() + b"\n"


def lifetime_of(mark: str) -> int:
    """The lifetime that a mark states, the usual one for none. Raises NoHandoverError."""
    if not mark:
        return DEFAULT_LIFETIME_SECONDS
    seconds = int(mark) if mark.isascii() and mark.isdigit() and len(mark) <= 10 else 0
    if not SHORTEST_LIFETIME_SECONDS <= seconds <= LONGEST_LIFETIME_SECONDS:
        raise NoHandoverError(
            "the identity's annotation states a lifetime that is not possible",
            "name one: --lifetime 1h",
        )
    return seconds


def check_authority(pem: str) -> str:
    """The certificate authority. Raises BadCertificateAuthorityError, UsageError."""
    client_context(pem)
    if len(pem) > LONGEST_AUTHORITY_CHARACTERS:
        raise UsageError(
            "the certificate authority is larger than 32 KiB",
            "name the door's own authority, not a bundle of all",
        )
    return pem


def check_file(path: str, name: IdentityName, *, now_unix: float, force: bool = False) -> None:
    """Raise what would keep a credentials file from being written, before anything is sent.

    One that is there is replaced only if it holds a token of the same identity, or by `force`.
    Raises FileInUseError, UsageError.
    """
    check_place(path)
    if not force and os.path.lexists(path) and not _is_of(path, name, now_unix):
        raise FileInUseError(
            f"{path} is there already and holds no credentials of {name}",
            "name another file, or replace it with --force",
        )


def check_place(path: str) -> None:
    """Raise UsageError where no file can be put; what is no ordinary file is never replaced."""
    if path in ("json", "yaml"):  # as -o means it elsewhere
        raise UsageError(
            "-o names the credentials file",
            f"what is printed is for --output to say; for a file of that name: -o ./{path}",
        )
    if path == "-":
        raise UsageError("stdout is taken by something else", "name a file")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} is no folder to write to", "make it, or name another file")
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder", f"name a file: {os.path.join(path, 'bot.json')}")
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise UsageError(f"{path} is no ordinary file", "name another")


def _is_of(path: str, name: IdentityName, now_unix: float) -> bool:
    try:
        document: Mapping[str, object] = json.loads(read_private(path, limit_bytes=LIMIT_BYTES))
        token = Secret(str(document["token"]))
        identity = read_identity(token, now_unix)
    except (OSError, ValueError, LookupError, TypeError, UnsafeFileError, CredentialsError):
        return False
    return (identity.namespace, identity.service_account) == (name.namespace, name.name)


def write_file(path: str, content: bytes) -> None:
    """Put a credentials file in place whole, mode 0600. Raises DaypassError."""
    try:
        write_private(path, content)
    except OSError as error:
        raise DaypassError(
            f"{path} cannot be written: {error.strerror}",
            "the identity itself is in order: the same command goes on from here",
        ) from None
