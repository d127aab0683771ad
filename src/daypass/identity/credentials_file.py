"""The credentials file of an identity: its content, where it may be written, and how to use it.

Everything in it but the token is also in annotations of the ServiceAccount, so that a rotation
needs no config. `resolve_settings` takes the door, audience and lifetime from the options of a
command, then from the config, then from the annotations.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import Placeholder, command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.syntax import (
    LONGEST_TOKEN_SECONDS,
    SHORTEST_TOKEN_SECONDS,
    is_lifetime,
)
from daypass._core.net import HostPort
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.client.config import DEFAULT_LIFETIME_SECONDS
from daypass.client.credentials_source import read_source
from daypass.client.door import DoorUrl, check_audience
from daypass.client.errors import CredentialsError
from daypass.client.subject_token import read_identity
from daypass.identity.accounts import Account, IdentityName
from daypass.identity.credential_secrets import FilledSecret, parse_source

if TYPE_CHECKING:
    from daypass.config import Config, Domain

LONGEST_AUTHORITY_CHARACTERS = 32 * 1024
"""It goes into the credentials file and into an annotation."""


class IncompleteCredentialsError(UsageError):
    """The door or the audience of the credentials is missing, or an annotation is invalid."""


class FileInUseError(DaypassError):
    """The file to write exists already, and holds something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsSettings:
    """All of a credentials file but the token. `authority`: PEM, if the door's is private."""

    door: str
    audience: str
    lifetime_seconds: int
    authority: str | None = None

    @classmethod
    def of(cls, account: Account) -> CredentialsSettings:
        """Read the annotations of a ServiceAccount, which others may have edited.

        Raises IncompleteCredentialsError.
        """
        annotations, name = account.annotations, account.name
        door, audience = annotations.get(labels.DOOR), annotations.get(labels.AUDIENCE)
        fields = ("--door", Placeholder("URL"), "--audience", Placeholder("AUDIENCE"))
        create = command("identity", "create", name.name, "-n", name.namespace, *fields)
        if not door or not audience:
            raise IncompleteCredentialsError(
                f"identity {name} has no annotation for its door or its audience",
                f"set them: {create}",
            )
        authority = annotations.get(labels.AUTHORITY)
        try:
            return cls(
                door=DoorUrl.parse(door).url,
                audience=check_audience(audience),
                lifetime_seconds=_parse_lifetime(annotations.get(labels.LIFETIME, "")),
                authority=None if authority is None else _check_authority(authority),
            )
        except DaypassError as error:
            raise IncompleteCredentialsError(
                f"the annotations of ServiceAccount {name} are not valid: {error.fact}",
                f"were they edited? Set them again: {create}",
            ) from None

    def annotations(self) -> dict[str, str]:
        found = {
            labels.DOOR: self.door,
            labels.AUDIENCE: self.audience,
            labels.LIFETIME: str(self.lifetime_seconds),
        }
        return found if self.authority is None else {**found, labels.AUTHORITY: self.authority}

    def file_content(self, filled: FilledSecret) -> bytes:
        """Return the credentials file, one key per line so that `sed` finds the token.

        With an anchor, it contains no secret. Raises UsageError if that is not valid.
        """
        document: dict[str, Any] = {"type": "daypass", "version": 1, "door": self.door}
        if self.authority is not None:
            document["certificateAuthority"] = self.authority
        document["token"], secret = filled.token.reveal(), filled.secret
        if secret.is_anchor:
            document["namespace"] = secret.account.namespace
            document["serviceAccount"] = secret.account.name
            document["secretName"] = secret.name
            document["token"] = parse_source(secret.source)
        document["audience"] = self.audience
        document["lifetimeSeconds"] = self.lifetime_seconds
        return json.dumps(document, indent=2).encode() + b"\n"


def _parse_lifetime(annotation: str) -> int:
    """Return the annotated lifetime, or the default. Raises IncompleteCredentialsError."""
    if not annotation:
        return DEFAULT_LIFETIME_SECONDS
    is_number = annotation.isascii() and annotation.isdigit() and len(annotation) <= 10
    seconds = int(annotation) if is_number else 0
    if not is_lifetime(seconds):
        raise IncompleteCredentialsError(
            "the identity's annotation has an invalid lifetime",
            "set one: --lifetime 1h",
        )
    return seconds


def _check_authority(pem: str) -> str:
    """Return the certificate authority. Raises BadCertificateAuthorityError, UsageError."""
    client_context(pem)
    if len(pem) > LONGEST_AUTHORITY_CHARACTERS:
        raise UsageError(
            "the certificate authority is larger than 32 KiB",
            "name only the door's authority, not a bundle",
        )
    return pem


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsOptions:
    """The options of a command. `door`: a URL. `domain`, `gate`: names. `authority`: PEM.

    `is_federated`: its tokens are for federated users, who may have a limit of their own.
    """

    door: str | None = None
    domain: str | None = None
    gate: str | None = None
    authority: str | None = None
    audience: str | None = None
    lifetime_seconds: int | None = None
    is_federated: bool = False


def _find_domain(
    options: CredentialsOptions, config: Config | None, account: Account | None
) -> Domain | None:
    """Return the domain of the config to use; None if the options name a door. Raises UsageError.

    Without an option, it is the only domain, or the one in the account's annotations.
    """
    if options.door is not None or config is None:
        return None
    if options.domain is not None:
        return config.find_domain(options.domain)
    if len(config.domains) == 1:
        return next(iter(config.domains.values()))
    before = account.annotations.get(labels.DOOR) if account is not None else None
    for domain in config.domains.values():
        if before is not None and _door_url(domain, config) == before:
            return domain
    known = ", ".join(sorted(config.domains))
    raise UsageError("the config has several domains", f"name one with --domain: {known}")


def resolve_settings(
    options: CredentialsOptions,
    config: Config | None,
    account: Account | None,
) -> tuple[CredentialsSettings, Domain | None]:
    """Return the settings from options, config and annotations, in this order of precedence.

    With the domain of the config that they are for; None if an option names the door. Raises
    IncompleteCredentialsError, UsageError.
    """
    domain = _find_domain(options, config, account)
    before = account.annotations if account is not None and account.is_ours else {}
    from_config = _door_url(domain, config) if domain and config else None
    door = options.door or from_config or before.get(labels.DOOR)
    known = before.get(labels.AUDIENCE)
    audience = options.audience or _config_audience(options, config, domain, known) or known
    if door is None or audience is None:
        unknown = ["--door URL"] * (door is None) + ["--audience A"] * (audience is None)
        raise IncompleteCredentialsError(
            "the door of the identity, or the audience of its tokens, is not known",
            f"name {' and '.join(unknown)}, or the daypass.yaml that has them: --config FILE",
        )
    door = DoorUrl.parse(door).url
    authority = options.authority
    if authority is None and door == before.get(labels.DOOR):
        authority = before.get(labels.AUTHORITY)
    settings = CredentialsSettings(
        door=door,
        audience=check_audience(audience),
        lifetime_seconds=_lifetime(options, config, before.get(labels.LIFETIME, "")),
        authority=None if authority is None else _check_authority(authority),
    )
    return settings, domain


def _door_url(domain: Domain, config: Config) -> str:
    """Return the URL of a domain's door: on one machine, with the port of `daypass up`."""
    port = config.port_of(domain, config.local.door)
    if port == 0:
        raise UsageError(
            "the door has no fixed port in the config (local.door)",
            "name the one that it uses: --door URL",
        )
    return f"https://{str(HostPort(domain.host, port)).removesuffix(':443')}{config.prefix}"


def _config_audience(
    options: CredentialsOptions, config: Config | None, domain: Domain | None, before: str | None
) -> str | None:
    """Return the audience of the named gate, or of the one to use; None if the config has none.

    Of several gates without a name, it is the one whose audience the identity has already, or the
    one that guards the domain; a named domain takes precedence. Raises UsageError.
    """
    if config is None:
        return None
    if options.gate is not None:
        return config.find_gate(options.gate)[1].audience
    of_gates = {gate.audience for gate in config.gates.values()}
    if len(of_gates) == 1:
        return of_gates.pop()
    if before in of_gates and options.domain is None:
        return before
    if domain is not None and (found := config.gate_of(domain)) is not None:
        return found[1].audience
    if of_gates:
        raise UsageError(
            "the config has several gates", f"name one with --gate: {', '.join(config.gates)}"
        )
    audiences = config.policy.audiences if config.policy is not None else ()
    return audiences[0] if len(audiences) == 1 else None


def _lifetime(options: CredentialsOptions, config: Config | None, before: str) -> int:
    longest = LONGEST_TOKEN_SECONDS
    if config is not None and (config.policy is not None or config.gates):
        longest = config.longest_lifetime_seconds
    if config is not None and config.policy is not None and options.is_federated:
        longest = min(longest, config.policy.federated.longest_lifetime_seconds)
    wanted = options.lifetime_seconds
    if wanted is None:
        return min(_parse_lifetime(before), longest)
    if not is_lifetime(wanted, longest):
        raise UsageError(
            f"a lifetime of {wanted} seconds is not possible",
            f"choose {SHORTEST_TOKEN_SECONDS} to {longest} seconds",
        )
    return wanted


def check_file(path: str, name: IdentityName, *, now_unix: float, force: bool = False) -> None:
    """Raise FileInUseError or UsageError if the credentials file can't be written.

    A file that exists is replaced if it is the same identity's, or with `force`.
    """
    if path == "-":
        raise UsageError("stdout is used for something else", "name a file")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"the folder {folder} does not exist or cannot be written to",
            "create it, or name another file",
        )
    if not os.path.lexists(path):
        return
    if os.path.islink(path) or not os.path.isfile(path):
        raise UsageError(f"{path} is not a regular file", "name another")
    if not force and _identity_in(path, now_unix) != (name.namespace, name.name):
        raise FileInUseError(
            f"{path} exists already and holds no credentials of {name}",
            "name another file, or replace it with --force",
        )


def _identity_in(path: str, now_unix: float) -> tuple[object, object] | None:
    """Return namespace and ServiceAccount of a credentials file; None for another file."""
    try:
        document: Mapping[str, object] = json.loads(read_source({}, path).document)
        if "serviceAccount" in document:
            return document["namespace"], document["serviceAccount"]
        identity = read_identity(Secret(str(document["token"])))
    except (ValueError, LookupError, TypeError, CredentialsError):
        return None
    return identity.namespace, identity.service_account
