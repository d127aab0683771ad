"""Checked credentials: CredentialsConfig, and ReloadingConfig, which reads files again."""

from __future__ import annotations

import os

from daypass._core.files import fingerprint
from daypass._core.secret import redact
from daypass.client.credentials_source import IDENTITY_KEYS, fields_of, read_secret_file
from daypass.client.door import DoorUrl, check_audience, check_lifetime
from daypass.client.errors import CredentialsError
from daypass.client.shared_cache import digest_input, entry_name
from daypass.client.subject_token import (
    GITHUB_VARIABLES,
    GitHubToken,
    StaticToken,
    named_identity,
    read_identity,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from daypass._core.secret import Secret
    from daypass.client.credentials_source import CredentialsSource
    from daypass.client.shared_cache import Inputs
    from daypass.client.subject_token import SubjectToken, TokenIdentity

DEFAULT_LIFETIME_SECONDS = 3600
_ACCOUNT_HINT = "namespace and serviceAccount together name the account that a federated token gets"
_MISSING = {
    "door": "it is the URL of the door, such as https://kubeflow.example.com/kubernetes",
    "token": "it is the long-lived token, or says where the token is",
    "namespace": _ACCOUNT_HINT,
    "serviceAccount": _ACCOUNT_HINT,
}
_SOURCES_HINT = (
    'put the long-lived token itself there, or {"file": "PATH"}, {"variable": "NAME"},\n'
    '{"github": {"audience": "A"}}'
)


class CredentialsConfig:
    """The checked config of raw credentials. Raises CredentialsError, without any value.

    `environ`: where variables that the document names are looked up.

    `certificate_authority` is PEM, or None for the machine's own authorities. `files`: the files
    that were read, with fingerprints. `inputs`: what decides the exchange in addition to the bytes
    of `source` (`shared_cache.Inputs`). `variables`: environment variables that the document names
    and that lead to the subject token.
    """

    def __init__(self, source: CredentialsSource, environ: Mapping[str, str] = os.environ) -> None:
        origin = source.origin
        fields = fields_of(source.document, origin)
        self.source = source
        self.door = DoorUrl.parse(_text(fields, "door", origin))
        self._named_identity = _identity_in(fields, origin)
        self.subject_token, self.inputs, self.variables = _subject_token(fields, origin, environ)
        read = [(name, seen) for kind, name, seen in self.inputs if kind == "file"]
        self.files = ((origin, source.fingerprint), *read)
        subject = self.subject_token
        self.token = subject.token if isinstance(subject, StaticToken) else None
        """The long-lived token, if it is in a file or in a variable."""
        self.identity: TokenIdentity = self._first_identity()
        self.certificate_authority: str | None = None
        if "certificateAuthority" in fields:
            self.certificate_authority = _text(fields, "certificateAuthority", origin)
        self.audience: str | None = None
        if "audience" in fields:
            self.audience = check_audience(_text(fields, "audience", origin))
        self.lifetime_seconds = check_lifetime(
            fields.get("lifetimeSeconds", DEFAULT_LIFETIME_SECONDS), 'write "lifetimeSeconds": 3600'
        )

    def key(self, audience: str | None, lifetime_seconds: int | None) -> tuple[str, int]:
        """Return the audience and the lifetime to request; None selects the configured one.

        Raises CredentialsError.
        """
        return (
            check_audience((self.audience or "") if audience is None else audience),
            self.lifetime_seconds if lifetime_seconds is None else check_lifetime(lifetime_seconds),
        )

    def cache_entry(self, key: tuple[str, int]) -> str:
        """Return the name of the shared cache's entry for a key.

        A command without options computes the same name before it parses the config.
        """
        audience, lifetime = key
        return entry_name(
            self.source.identity(),
            None if audience == self.audience else audience,
            None if lifetime == self.lifetime_seconds else lifetime,
        )

    def identity_of(self, token: Secret) -> TokenIdentity:
        """Return the ServiceAccount that this subject token is for; raises CredentialsError."""
        if token is self.token and not self.identity.is_federated:
            return self.identity
        self.identity = read_identity(token, self._named_identity)
        return self.identity

    def _first_identity(self) -> TokenIdentity:
        if self.token is not None:
            return read_identity(self.token, self._named_identity)
        if self._named_identity is not None:
            return self._named_identity
        raise CredentialsError(
            f"{self.source.origin} has no namespace and no serviceAccount",
            "they are required for a token that is fetched at each exchange",
            reason="missing-field",
        )


class ReloadingConfig:
    """The last valid config. `read` reads it again; None: it never changes."""

    def __init__(
        self, config: CredentialsConfig, read: Callable[[], CredentialsConfig] | None = None
    ) -> None:
        self.current = config
        self.problem: CredentialsError | None = None
        """Why the files as they are now can't be used. The last valid config stays in use."""
        self._read = read
        self._seen = config.files

    def has_changed(self) -> bool:
        """Whether a file differs from the one that was read. Reads no file, only its status."""
        return self._read is not None and any(
            fingerprint(path) != seen for path, seen in self._seen
        )

    def reload(self) -> CredentialsConfig:
        """Read the files again and return the config that is valid then."""
        if self._read is not None:
            self._seen = tuple((path, fingerprint(path)) for path, _ in self._seen)
            try:
                self.current, self.problem = self._read(), None
                self._seen = self.current.files
            except CredentialsError as error:
                self.problem = error
        return self.current


def _text(fields: dict[str, Any], name: str, origin: str) -> str:
    value = fields.get(name)
    if name not in fields:
        raise CredentialsError(f"{origin} has no {name}", _MISSING[name], reason="missing-field")
    if not isinstance(value, str):
        raise CredentialsError(
            f"{name} in {origin} is not a string", "put it in quotes", reason="invalid-field"
        )
    return value


def _subject_token(
    fields: dict[str, Any], origin: str, environ: Mapping[str, str]
) -> tuple[SubjectToken, Inputs, tuple[str, ...]]:
    """Return the subject token, `inputs` and `variables` of a config; raises CredentialsError."""
    source = fields.get("token")
    if not isinstance(source, dict):
        return StaticToken(_text(fields, "token", origin)), (), ()
    match source:
        case {"file": str(name)} if len(source) == 1:
            path = os.path.abspath(os.path.join(os.path.dirname(origin), name))
            seen = digest_input("file", path, environ)  # before it is read
            content = read_secret_file(path, "the token's file")
            token = StaticToken(content.decode("utf-8", "replace"))
            return token, (("file", path, seen),), ()
        case {"variable": str(name)} if len(source) == 1:
            if not environ.get(name):
                raise CredentialsError(
                    f"the variable {redact(name)}, which holds the token, is not set",
                    "does this CI job have the secret? In GitLab, `id_tokens:` sets one",
                    reason="missing-variable",
                )
            seen = digest_input("variable", name, environ)
            return StaticToken(environ[name]), (("variable", name, seen),), (name,)
        case {"github": {"audience": str(audience), **rest}} if len(source) == 1 and not rest:
            job = GITHUB_VARIABLES[1]  # differs between jobs
            seen = digest_input("variable", job, environ)
            github = GitHubToken(audience=check_audience(audience), environ=environ)
            return github, (("variable", job, seen),), GITHUB_VARIABLES
    raise CredentialsError(
        f"the token in {origin} is of an unknown kind", _SOURCES_HINT, reason="invalid-field"
    )


def _identity_in(fields: dict[str, Any], origin: str) -> TokenIdentity | None:
    if fields.keys().isdisjoint(IDENTITY_KEYS):
        return None
    namespace, account = (_text(fields, key, origin) for key in IDENTITY_KEYS[:2])
    secret_name = _text(fields, "secretName", origin) if "secretName" in fields else None
    return named_identity(namespace, account, secret_name)
