"""What credentials say: door, authority, token, audience, lifetime; parsed and checked once."""

from __future__ import annotations

import json
import os

from daypass._core.secret import Secret
from daypass._core.status import printable
from daypass.client.address import Door
from daypass.client.errors import CredentialsError
from daypass.client.identity import Identity, read_identity
from daypass.client.scrub import scrub
from daypass.client.source import read_secret_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daypass.client.source import Source

DEFAULT_LIFETIME_SECONDS = 3600
LONGEST_LIFETIME_SECONDS = 2**32
"""More is no TokenRequest at all (k8s.io/kubernetes/pkg/apis/authentication/validation)."""

_KEYS = (
    "type", "version", "door", "certificateAuthority", "token", "audience", "lifetimeSeconds",
)  # fmt: skip
_MISSING = {
    "door": "it takes the URL that the door is published at, like https://ekf.example.com/kubernetes",
    "token": "it takes the long-lived token; DAYPASS_TOKEN_FILE, or a file's path, does as well",
}
_LATER_KEYS = ("namespace", "serviceAccount")


class Settings:
    """Checked credentials. `certificate_authority` is PEM, or None for the machine's own."""

    __slots__ = (
        "audience", "certificate_authority", "door", "identity", "is_whole", "lifetime_seconds",
        "origin", "token",
    )  # fmt: skip

    def __init__(self, fields: dict[str, Any], *, origin: str | None, now_unix: float) -> None:
        self.origin = origin
        self.is_whole = not isinstance(fields.get("token"), dict)
        """Whether the source's bytes are all of it: then they can be the key of a cache."""
        self.door = Door.parse(_text(fields, "door", origin))
        self.token = _token(fields, origin)
        self.identity: Identity = read_identity(self.token, now_unix)
        self.certificate_authority: str | None = None
        if "certificateAuthority" in fields:
            self.certificate_authority = _text(fields, "certificateAuthority", origin)
        self.audience: str | None = None
        if "audience" in fields:
            self.audience = check_audience(_text(fields, "audience", origin))
        self.lifetime_seconds = check_lifetime(
            fields.get("lifetimeSeconds", DEFAULT_LIFETIME_SECONDS)
        )


def parse_source(source: Source, now_unix: float) -> Settings:
    """The settings in raw credentials; raises CredentialsError, which quotes no value of them."""
    if source.origin is not None:
        fields = _fields(source.document, source.origin)
    else:
        fields = {name: _decoded(value) for name, value in source.fields.items()}
    return Settings(fields, origin=source.origin, now_unix=now_unix)


def check_audience(audience: str) -> str:
    """An audience as it may stand in a request."""
    if audience and audience == audience.strip() and audience.isprintable():
        return audience
    raise CredentialsError(
        "the audience holds spaces or control characters" if audience else "no audience is named",
        "name whom the token is for: --audience, DAYPASS_AUDIENCE, or `audience` in the file",
    )


def check_lifetime(seconds: object) -> int:
    """A lifetime that a TokenRequest can carry; what is granted is the API server's to say."""
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise CredentialsError("the lifetime is not a whole number of seconds", "try 3600")
    if not 0 < seconds <= LONGEST_LIFETIME_SECONDS:
        raise CredentialsError(f"a lifetime of {seconds} seconds is not possible", "try 3600")
    return seconds


def _fields(document: bytes, origin: str) -> dict[str, Any]:
    try:
        value = json.loads(document, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        place = f": line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        value, problem = None, f"is not whole JSON{place}"
    else:
        problem = "is not one JSON object"
    if not isinstance(value, dict):
        raise CredentialsError(f"{origin} {problem}", "was all of it copied?")
    if (
        value.get("type") != "daypass"
        or type(value.get("version")) is not int
        or value["version"] != 1
    ):
        raise CredentialsError(
            f'{origin} does not say "type": "daypass" and "version": 1',
            "either it is another kind of file, or a newer daypass made it",
        )
    for key in value:
        if key not in _KEYS:
            raise _unknown_key(key, origin)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _unknown_key(key: str, origin: str) -> CredentialsError:
    from difflib import get_close_matches

    if key in _LATER_KEYS:
        return CredentialsError(
            f"{origin} names a {key}, which federation needs and this version does not support",
            "namespace and ServiceAccount are read from the long-lived token: leave it out",
        )
    shown = printable(scrub(key), 40)
    near = get_close_matches(key, _KEYS, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(_KEYS)}"
    return CredentialsError(f"{origin} holds the unknown key {shown!r}", hint)


def _text(fields: dict[str, Any], name: str, origin: str | None, default: str | None = None) -> str:
    value = fields.get(name, default)
    if value is None and name not in fields:
        if origin is None:
            raise CredentialsError(f"DAYPASS_{name.upper()} is not set", _MISSING[name])
        raise CredentialsError(f"{origin} names no {name}", _MISSING[name])
    if not isinstance(value, str):
        raise CredentialsError(f"{name} in {origin} is not a string", "put it in quotes")
    return value


def _token(fields: dict[str, Any], origin: str | None) -> Secret:
    source = fields.get("token")
    if isinstance(source, dict):
        if list(source) != ["file"] or not isinstance(source["file"], str):
            raise CredentialsError(
                f"{origin} takes its token from {_source_names(source)}, which this version does"
                " not support",
                'put the long-lived token itself there, or {"file": "PATH"}',
            )
        path = os.path.join(os.path.dirname(origin or ""), source["file"])
        return Secret(_decoded(read_secret_file(path, "the token's file")).strip())
    return Secret(_text(fields, "token", origin).strip())


def _source_names(source: dict[str, Any]) -> str:
    known = [name for name in ("file", "github", "exec") if name in source]
    return " and ".join(known) or "an unknown source"


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "replace")
