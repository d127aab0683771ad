"""What credentials say: door, authority, token, audience, lifetime; parsed and checked once."""

from __future__ import annotations

import json
import os

from daypass._core.redact import redact
from daypass._core.secret import Secret
from daypass._core.text import printable, suggest
from daypass.client.cache import mark
from daypass.client.config_source import read_secret_file
from daypass.client.door_url import DoorUrl
from daypass.client.errors import CredentialsError
from daypass.client.subject import TokenIdentity, named_identity, read_identity
from daypass.client.subject_token import ExecToken, GitHubToken, StaticToken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daypass.client.cache import Needs
    from daypass.client.config_source import CredentialsSource
    from daypass.client.subject_token import LongLived


DEFAULT_LIFETIME_SECONDS = 3600
LONGEST_LIFETIME_SECONDS = 2**32
"""More is no TokenRequest at all (k8s.io/kubernetes/pkg/apis/authentication/validation)."""

_KEYS = (
    "type", "version", "door", "certificateAuthority", "token", "audience", "lifetimeSeconds",
    "namespace", "serviceAccount",
)  # fmt: skip
_MISSING = {
    "door": "it takes the URL that the door is published at, like https://ekf.example.com/kubernetes",
    "token": "it takes the long-lived token; DAYPASS_TOKEN_FILE, or a file's path, does as well",
    "namespace": "namespace and serviceAccount say together whom a federated token becomes",
    "serviceAccount": "namespace and serviceAccount say together whom a federated token becomes",
}
_GITHUB_VARIABLES = ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL")
_SOURCES = (
    'put the long-lived token itself there, or {"file": "PATH"}, {"variable": "NAME"},\n'
    '{"github": {"audience": "A"}}, {"exec": ["PROGRAM", "ARGUMENT"]}'
)


class CredentialsConfig:
    """Checked credentials. `certificate_authority` is PEM, or None for the machine's own.

    `files`: what they were read from, with fingerprints. `source`: the bytes that they were; None
    where they came from no source. `needs`: what those bytes do not show (`cache.Entry`); None
    where that can't be told. `variables`: of the environment, that the document names and that lead
    to the long-lived token.
    """

    __slots__ = (
        "_stated", "audience", "certificate_authority", "door", "files", "identity",
        "lifetime_seconds", "long_lived", "needs", "origin", "source", "token",
        "variables",
    )  # fmt: skip

    def __init__(
        self,
        fields: dict[str, Any],
        *,
        origin: str | None,
        now_unix: float,
        environ: Mapping[str, str] | None = None,
        files: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.origin = origin
        self.files = files
        self.source: CredentialsSource | None = None
        self.needs: Needs | None = ()
        self.variables: tuple[str, ...] = ()
        self.door = DoorUrl.parse(_text(fields, "door", origin))
        self.token: Secret | None = None
        """The long-lived token, where it need not be asked for."""
        self._stated = _stated(fields, origin)
        self.long_lived = self._token(fields, os.environ if environ is None else environ)
        self.identity: TokenIdentity = self._first_identity(now_unix)
        self.certificate_authority: str | None = None
        if "certificateAuthority" in fields:
            self.certificate_authority = _text(fields, "certificateAuthority", origin)
        self.audience: str | None = None
        if "audience" in fields:
            self.audience = check_audience(_text(fields, "audience", origin))
        self.lifetime_seconds = check_lifetime(
            fields.get("lifetimeSeconds", DEFAULT_LIFETIME_SECONDS)
        )

    def question(self, audience: str | None, lifetime_seconds: int | None) -> tuple[str, int]:
        """What is asked for, with the credentials' own where None; raises CredentialsError."""
        return (
            check_audience((self.audience or "") if audience is None else audience),
            self.lifetime_seconds if lifetime_seconds is None else check_lifetime(lifetime_seconds),
        )

    def identity_of(self, token: Secret, now_unix: float) -> TokenIdentity:
        """Whom this token stands for; raises CredentialsError."""
        if token is self.token and self.identity.secret_name is not None:
            return self.identity
        self.identity = read_identity(token, now_unix, self._stated)
        return self.identity

    def _first_identity(self, now_unix: float) -> TokenIdentity:
        if self.token is not None:
            return read_identity(self.token, now_unix, self._stated)
        if self._stated is not None:
            return self._stated
        raise CredentialsError(
            f"{self.origin} names no namespace and no serviceAccount",
            "a token that is asked for with each exchange does not say beforehand whose it is",
        )

    def _token(self, fields: dict[str, Any], environ: Mapping[str, str]) -> LongLived:
        source = fields.get("token")
        if not isinstance(source, dict):
            return self._there(_text(fields, "token", self.origin))
        match source:
            case {"file": str(name)} if len(source) == 1:
                path = os.path.abspath(os.path.join(os.path.dirname(self.origin or ""), name))
                seen = mark("file", path, environ)
                self.files += ((path, seen),)
                self.needs = (("file", path, seen),)
                content = read_secret_file(path, "the token's file")
                return self._there(content.decode("utf-8", "replace"))
            case {"variable": str(name)} if len(source) == 1:
                self.needs = (("variable", name, mark("variable", name, environ)),)
                self.variables = (name,)
                if not environ.get(name):
                    raise CredentialsError(
                        f"{redact(name)}, which holds the token, is not set",
                        "in CI a job has to ask for it: in GitLab by `id_tokens:`",
                    )
                return self._there(environ[name])
            case {"github": {"audience": str(audience), **rest}} if len(source) == 1 and not rest:
                job = _GITHUB_VARIABLES[0]  # another one in each job
                self.needs = (("variable", job, mark("variable", job, environ)),)
                self.variables = _GITHUB_VARIABLES
                return GitHubToken(check_audience(audience), environ)
            case {"exec": [str(_), *_] as command} if len(source) == 1 and all(
                isinstance(word, str) for word in command
            ):
                self.needs = None
                return ExecToken(tuple(command), environ)
        raise CredentialsError(f"the token in {self.origin} is of no known kind", _SOURCES)

    def _there(self, text: str) -> StaticToken:
        self.token = Secret(text.strip())
        return StaticToken(self.token)


def parse_source(
    source: CredentialsSource, now_unix: float, environ: Mapping[str, str] | None = None
) -> CredentialsConfig:
    """The settings in raw credentials; raises CredentialsError, which quotes no value of them.

    `environ` (os.environ): where variables are looked up that a document names.
    """
    if source.origin is not None:
        fields = _fields(source.document, source.origin)
    else:
        fields = {name: value.decode("utf-8", "replace") for name, value in source.fields.items()}
    settings = CredentialsConfig(
        fields, origin=source.origin, now_unix=now_unix, environ=environ, files=source.files
    )
    settings.source = source
    return settings


def check_audience(audience: str) -> str:
    """An audience as it may stand in a request."""
    if audience and audience == audience.strip() and audience.isprintable():
        return audience
    raise CredentialsError(
        "the audience holds spaces or control characters" if audience else "no audience is named",
        "name one: --audience AUDIENCE (audience=AUDIENCE in Python), DAYPASS_AUDIENCE, or "
        "`audience` in the credentials file",
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
        raise CredentialsError(f"{origin} {problem}", _looks_like(document))
    if (
        value.get("type") != "daypass"
        or type(value.get("version")) is not int
        or value["version"] != 1
    ):
        hint = "either it is another kind of file, or a newer daypass made it"
        if value.get("kind") == "Secret":
            hint = "it is a Secret: the token is in its data, in base64"
        raise CredentialsError(
            f'{origin} does not say "type": "daypass" and "version": 1',
            hint,
        )
    for key in value:
        if key not in _KEYS:
            raise _unknown_key(key, origin)
    return value


def _looks_like(document: bytes) -> str:
    if document.startswith((b"eyJ", b"ZXlK")):
        return (
            "it holds a token alone: name such a file by DAYPASS_TOKEN_FILE, with DAYPASS_DOOR and"
            " DAYPASS_AUDIENCE"
        )
    if b"kind: Config" in document:
        return "it is a kubeconfig: a credentials file is what `identity create` hands out"
    return "was all of it copied?"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _unknown_key(key: str, origin: str) -> CredentialsError:
    shown = printable(redact(key), 40)
    near = suggest(key, _KEYS)
    hint = f"did you mean {near}?" if near else f"known are: {', '.join(_KEYS)}"
    return CredentialsError(f"{origin} holds the unknown key {shown!r}", hint)


def _text(fields: dict[str, Any], name: str, origin: str | None) -> str:
    value = fields.get(name)
    if name not in fields:
        if origin is None:
            raise CredentialsError(f"DAYPASS_{name.upper()} is not set", _MISSING[name])
        raise CredentialsError(f"{origin} names no {name}", _MISSING[name])
    if not isinstance(value, str):
        raise CredentialsError(f"{name} in {origin} is not a string", "put it in quotes")
    return value


def _stated(fields: dict[str, Any], origin: str | None) -> TokenIdentity | None:
    if "namespace" not in fields and "serviceAccount" not in fields:
        return None
    return named_identity(
        _text(fields, "namespace", origin), _text(fields, "serviceAccount", origin)
    )
