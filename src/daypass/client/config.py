"""Credentials: read as bytes from a file or from variables, then parsed and checked.

`read_source` gets no further than the bytes. They are the identity that a cached token belongs to,
and all that the cached path of `daypass token` needs: so what parsing needs is imported where it
is used. `parse_source` returns the checked CredentialsConfig, and ReloadingConfig reads the files
again after a change.
"""

from __future__ import annotations

import os

from daypass._core.files import UnsafeFileError, fingerprint, read_private
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from daypass._core.secret import Secret
    from daypass.client.shared_cache import Inputs
    from daypass.client.subject_token import SubjectToken, TokenIdentity


DEFAULT_LIFETIME_SECONDS = 3600
LIMIT_BYTES = 64 * 1024
FILE_VARIABLE = "DAYPASS_CREDENTIALS"
FILE_VARIABLES = (FILE_VARIABLE, "DAYPASS_TOKEN_FILE", "DAYPASS_CA_FILE")
"""Those that hold a path."""
FIELD_VARIABLES = (
    "DAYPASS_DOOR", "DAYPASS_TOKEN", "DAYPASS_TOKEN_FILE", "DAYPASS_AUDIENCE", "DAYPASS_CA_FILE",
)  # fmt: skip
_FIELDS = {"DAYPASS_DOOR": "door", "DAYPASS_TOKEN": "token", "DAYPASS_AUDIENCE": "audience"}
_IDENTITY_KEYS = ("namespace", "serviceAccount", "secretName")
_KEYS = (
    "type", "version", "door", "certificateAuthority", "token", "audience", "lifetimeSeconds",
    *_IDENTITY_KEYS,
)  # fmt: skip
_ACCOUNT_HINT = "namespace and serviceAccount together name the account that a federated token gets"
_MISSING = {
    "door": "it is the URL of the door, such as https://kubeflow.example.com/kubernetes",
    "token": "it is the long-lived token; DAYPASS_TOKEN_FILE takes the path of a file instead",
    "audience": "it is the gate's; each token can name its own instead, with audience=AUDIENCE",
    "namespace": _ACCOUNT_HINT,
    "serviceAccount": _ACCOUNT_HINT,
}
_OTHER_FILES = {
    b"kind: Config": "a kubeconfig",
    b"apiVersion:": "an object of Kubernetes",
    b"domains:": "the config of door and gate (daypass.yaml)",
    b"[[token]]": "the config of the agent",
    b"-----BEGIN": "certificates or keys; DAYPASS_CA_FILE takes an authority's",
    b"eyJ": "only a token, which DAYPASS_TOKEN_FILE takes",
    b"ZXlK": "only a token, in base64",
}
"""What else users name as credentials, by the first of these texts that is in it."""
_GITHUB_VARIABLES = ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL")
_SOURCES_HINT = (
    'put the long-lived token itself there, or {"file": "PATH"}, {"variable": "NAME"},\n'
    '{"github": {"audience": "A"}}, {"exec": ["PROGRAM", "ARGUMENT"]}'
)


class CredentialsSource:
    """Raw credentials: a whole file as `document`, or the variables' values as `fields`.

    `origin` is the file's path, or None if they came from variables. `files`: what was read, with
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
    document = _read_secret_file(path, what, lambda content: _holds_no_secret(content, path))
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
        field: os.fsencode(environ[name]) for name, field in _FIELDS.items() if environ.get(name)
    }
    seen = tuple((path, fingerprint(path)) for path in (token_file, ca_file) if path)
    if token_file:
        what = "the file in DAYPASS_TOKEN_FILE"
        fields["token"] = _read_secret_file(token_file, what, _is_public_token)
    if ca_file:
        fields["certificateAuthority"] = _read_authority_file(ca_file)
    return CredentialsSource(origin=None, fields=fields, files=seen)


def _holds_no_secret(document: bytes, origin: str) -> bool:
    """Whether a credentials file only says where its token is (not by a program's arguments).

    Raises CredentialsError for any other file.
    """
    from daypass._core.secret import redact

    fields = _fields(document, origin)
    try:
        token, text = fields.get("token"), str(fields)
    except RecursionError:
        return False
    is_elsewhere = isinstance(token, dict) and token.keys() <= {"file", "github", "variable"}
    return is_elsewhere and redact(text) == text


def _is_public_token(content: bytes) -> bool:
    """Return False: no token is public. Raises CredentialsError for anything but a token."""
    from daypass._core.secret import Secret
    from daypass.client.subject_token import decode_claims

    decode_claims(Secret(content.decode("utf-8", "replace").strip()))
    return False


def _read_secret_file(path: str, what: str, is_public: Callable[[bytes], bool]) -> bytes:
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
            content = file.read(16 * LIMIT_BYTES + 1)
        if len(content) <= 16 * LIMIT_BYTES:
            return content
        problem = CredentialsError(
            f"{what} is larger than 1 MiB", "name a file of certificates", reason="file-too-large"
        )
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
    elif "{" in path:
        hint = "it takes the path of a file, not its content"
    fact = f"{what} cannot be read: {redact(os.path.abspath(path))}: {cause}"
    if not path:
        fact, hint = f"the path of {what} is empty", "is the variable set that stands for it?"
    return CredentialsError(fact, hint, reason="unreadable-file")


class CredentialsConfig:
    """Checked credentials.

    `certificate_authority` is PEM, or None for the machine's own authorities. `files`: the files
    that were read, with fingerprints. `source`: the raw credentials, or None if there are none.
    `inputs`: what decides the exchange in addition to those bytes (`shared_cache.Inputs`); None if
    that can't be determined, and then tokens are not shared. `variables`: environment variables
    that the document names and that lead to the subject token.
    """

    __slots__ = (
        "_named_identity", "audience", "certificate_authority", "door", "files", "identity",
        "inputs", "lifetime_seconds", "origin", "source", "subject_token", "token", "variables",
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
        from daypass.client.door import DoorUrl, check_audience, check_lifetime
        from daypass.client.subject_token import StaticToken

        self.origin = origin
        self.source: CredentialsSource | None = None
        self.door = DoorUrl.parse(_text(fields, "door", origin))
        self._named_identity = _identity_in(fields, origin)
        self.subject_token, self.inputs, self.variables = _subject_token(
            fields, origin, os.environ if environ is None else environ
        )
        read = [(name, seen) for kind, name, seen in self.inputs or () if kind == "file"]
        self.files = (*files, *read)
        subject = self.subject_token
        self.token = subject.token if isinstance(subject, StaticToken) else None
        """The long-lived token, if it is in a file or in a variable."""
        self.identity: TokenIdentity = self._first_identity(now_unix)
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
        from daypass.client.door import check_audience, check_lifetime

        return (
            check_audience((self.audience or "") if audience is None else audience),
            self.lifetime_seconds if lifetime_seconds is None else check_lifetime(lifetime_seconds),
        )

    def cache_entry(self, key: tuple[str, int]) -> str | None:
        """Return the name of the shared cache's entry for a key; None if it must not be shared.

        A command without options computes the same name before it parses the config.
        """
        from daypass.client.shared_cache import entry_name

        if self.source is None or self.inputs is None:
            return None
        audience, lifetime = key
        return entry_name(
            self.source.identity(),
            None if audience == self.audience else audience,
            None if lifetime == self.lifetime_seconds else lifetime,
        )

    def identity_of(self, token: Secret, now_unix: float) -> TokenIdentity:
        """Return the ServiceAccount that this subject token is for; raises CredentialsError."""
        from daypass.client.subject_token import read_identity

        if token is self.token and not self.identity.is_federated:
            return self.identity
        self.identity = read_identity(token, now_unix, self._named_identity)
        return self.identity

    def _first_identity(self, now_unix: float) -> TokenIdentity:
        if self.token is not None:
            from daypass.client.subject_token import read_identity

            return read_identity(self.token, now_unix, self._named_identity)
        if self._named_identity is not None:
            return self._named_identity
        raise CredentialsError(
            f"{self.origin} has no namespace and no serviceAccount",
            "they are required for a token that is fetched at each exchange",
            reason="missing-field",
        )


def parse_source(
    source: CredentialsSource, now_unix: float, environ: Mapping[str, str] | None = None
) -> CredentialsConfig:
    """Return the checked config of raw credentials. Raises CredentialsError, without any value.

    `environ` (os.environ): where variables that the document names are looked up.
    """
    if source.origin is not None:
        fields = _fields(source.document, source.origin)
    else:
        fields = {name: value.decode("utf-8", "replace") for name, value in source.fields.items()}
    config = CredentialsConfig(
        fields, origin=source.origin, now_unix=now_unix, environ=environ, files=source.files
    )
    config.source = source
    return config


class ReloadingConfig:
    """The last valid config. `read` reads it again; None: it never changes."""

    __slots__ = ("_read", "_seen", "current", "problem")

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


def _fields(document: bytes, origin: str) -> dict[str, Any]:
    import json

    value, place = None, ""
    try:
        value = json.loads(document, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        place = f": line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
    if not isinstance(value, dict):
        problem, hint = f"is not valid JSON{place}", "was the whole file copied?"
        if other := _other_file(document):
            problem, hint = other, "`daypass identity create` writes a credentials file"
        raise CredentialsError(f"{origin} {problem}", hint, reason="not-a-credentials-file")
    version = value.get("version")
    if value.get("type") != "daypass" or type(version) is not int or version != 1:
        hint = "it is another kind of file, or was written by a newer daypass"
        if value.get("kind") == "Secret":
            hint = "it is a Secret: the token is in its data, in base64"
        elif value.get("kind") == "Config":
            hint = "it is a kubeconfig: `daypass identity create` writes a credentials file"
        raise CredentialsError(
            f'{origin} does not contain "type": "daypass" and "version": 1',
            hint,
            reason="not-a-credentials-file",
        )
    for key in value:
        if key not in _KEYS:
            raise _unknown_key(key, origin)
    return value


def _other_file(document: bytes) -> str:
    """Return what a file holds instead of credentials; empty if it may hold a part of them."""
    if not document.strip():
        return "is empty"
    kinds = [kind for mark, kind in _OTHER_FILES.items() if mark in document]
    holds = f": it holds {kinds[0]}" if kinds else ""
    return "" if document.lstrip().startswith(b"{") else f"is not a credentials file{holds}"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def _unknown_key(key: str, origin: str) -> CredentialsError:
    from daypass._core.secret import redact
    from daypass._core.text import did_you_mean, printable

    return CredentialsError(
        f"{origin} has the unknown key {printable(redact(key), 40)!r}",
        did_you_mean(key, _KEYS, f"known keys: {', '.join(_KEYS)}"),
        reason="unknown-key",
    )


def _text(fields: dict[str, Any], name: str, origin: str | None) -> str:
    value = fields.get(name)
    if name not in fields:
        fact, hint = f"{origin} has no {name}", _MISSING[name]
        if origin is None:  # all at once
            missing = [variable for variable, key in _FIELDS.items() if key not in fields]
            fact = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
            hint = "\n".join(f"{each}: {_MISSING[_FIELDS[each]]}" for each in missing)
        raise CredentialsError(fact, hint, reason="missing-field")
    if not isinstance(value, str):
        raise CredentialsError(
            f"{name} in {origin} is not a string", "put it in quotes", reason="invalid-field"
        )
    return value


def _subject_token(
    fields: dict[str, Any], origin: str | None, environ: Mapping[str, str]
) -> tuple[SubjectToken, Inputs | None, tuple[str, ...]]:
    """Return the subject token, `inputs` and `variables` of a config; raises CredentialsError."""
    from daypass._core.secret import redact
    from daypass.client.shared_cache import digest_input
    from daypass.client.subject_token import ExecToken, StaticToken

    source = fields.get("token")
    if not isinstance(source, dict):
        return StaticToken(_text(fields, "token", origin)), (), ()
    match source:
        case {"file": str(name)} if len(source) == 1:
            path = os.path.abspath(os.path.join(os.path.dirname(origin or ""), name))
            seen = digest_input("file", path, environ)  # before it is read
            content = _read_secret_file(path, "the token's file", _is_public_token)
            token = StaticToken(content.decode("utf-8", "replace"))
            return token, (("file", path, seen),), ()
        case {"variable": str(name)} if len(source) == 1:
            if not environ.get(name):
                raise CredentialsError(
                    f"the variable {redact(name)}, which holds the token, is not set",
                    "in CI the job has to request it: in GitLab with `id_tokens:`",
                    reason="missing-variable",
                )
            seen = digest_input("variable", name, environ)
            return StaticToken(environ[name]), (("variable", name, seen),), (name,)
        case {"github": {"audience": str(audience), **rest}} if len(source) == 1 and not rest:
            from daypass.client.door import check_audience
            from daypass.client.github import GitHubToken

            job = _GITHUB_VARIABLES[0]  # differs between jobs
            seen = digest_input("variable", job, environ)
            github = GitHubToken(check_audience(audience), environ)
            return github, (("variable", job, seen),), _GITHUB_VARIABLES
        case {"exec": [str(_), *_] as command} if len(source) == 1 and all(
            isinstance(word, str) for word in command
        ):
            return ExecToken(tuple(command), environ), None, ()
    raise CredentialsError(
        f"the token in {origin} is of an unknown kind", _SOURCES_HINT, reason="invalid-field"
    )


def _identity_in(fields: dict[str, Any], origin: str | None) -> TokenIdentity | None:
    from daypass.client.subject_token import named_identity

    if fields.keys().isdisjoint(_IDENTITY_KEYS):
        return None
    namespace, account = (_text(fields, key, origin) for key in _IDENTITY_KEYS[:2])
    secret_name = _text(fields, "secretName", origin) if "secretName" in fields else None
    return named_identity(namespace, account, secret_name)
