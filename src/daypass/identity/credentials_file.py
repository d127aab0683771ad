"""What a client is handed: the credentials file, all of which but the token is kept as marks.

Which door an identity is for: what was said, else the config, else what its marks say.

How a client that installs nothing gets a short-lived token: with curl, or with kubectl.

No token stands in a command line: other users of the machine could read it there.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import UnsafeFileError, read_private, write_private
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.client.config import check_audience
from daypass.client.door_url import DoorUrl, HostPort
from daypass.client.errors import CredentialsError
from daypass.client.subject import read_identity
from daypass.identity.model import Account, IdentityName

if TYPE_CHECKING:
    from daypass.config import Config, Domain


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
class CredentialsSettings:
    """All of a credentials file but the token. `authority`: PEM, where the door's is private."""

    door: str
    audience: str
    lifetime_seconds: int
    authority: str | None = None

    @classmethod
    def of(cls, account: Account) -> CredentialsSettings:
        """What the marks of a ServiceAccount say, which others may have written: a door, an
        audience, a lifetime and an authority that clients take. Raises NoHandoverError.
        """
        annotations = account.annotations
        door, audience = annotations.get(labels.DOOR), annotations.get(labels.AUDIENCE)
        name = account.name
        line = command(
            "identity", "create", name.name, "-n", name.namespace,
            "--door", Placeholder("URL"), "--audience", Placeholder("AUDIENCE"),
        )  # fmt: skip
        if not door or not audience:
            raise NoHandoverError(
                f"identity {name} does not say for which door and audience it is", f"say it: {line}"
            )
        authority = annotations.get(labels.AUTHORITY)
        try:
            return cls(
                door=DoorUrl.parse(door).url,
                audience=check_audience(audience),
                lifetime_seconds=lifetime_of(annotations.get(labels.LIFETIME, "")),
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
            labels.DOOR: self.door,
            labels.AUDIENCE: self.audience,
            labels.LIFETIME: str(self.lifetime_seconds),
        }
        return said if self.authority is None else {**said, labels.AUTHORITY: self.authority}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsOptions:
    """What was said about the credentials. `door`: a URL; `domain`: of the config; `authority`:
    PEM."""

    door: str | None = None
    domain: str | None = None
    authority: str | None = None
    audience: str | None = None
    lifetime_seconds: int | None = None


def find_domain(
    order: CredentialsOptions, config: Config, account: Account | None
) -> Domain | None:
    """The domain of the config that is meant; None where another door is named. UsageError."""
    if order.door is not None:
        return None
    known = ", ".join(sorted(config.domains))
    if order.domain is not None:
        if order.domain not in config.domains:
            raise UsageError(f"the config has no domain {order.domain[:80]!r}", f"it has: {known}")
        return config.domains[order.domain]
    if len(config.domains) == 1:
        return next(iter(config.domains.values()))
    before = account.annotations.get(labels.DOOR) if account is not None else None
    for domain in config.domains.values():
        if before is not None and _url(domain, config) == before:
            return domain
    raise UsageError("the config has several domains", f"name one with --domain: {known}")


def complete(
    order: CredentialsOptions, config: Config | None, domain: Domain | None, account: Account | None
) -> CredentialsSettings:
    """All of a credentials file but the token. Raises NoHandoverError, UsageError."""
    before = account.annotations if account is not None and account.is_ours else {}
    door = order.door or (_url(domain, config) if domain and config else before.get(labels.DOOR))
    audience = order.audience or _audience(config) or before.get(labels.AUDIENCE)
    if door is None:
        raise NoHandoverError(
            "nobody says at which door the identity is to come in",
            "name it with --door URL, or the daypass.yaml that describes it with --config FILE",
        )
    if audience is None:
        raise NoHandoverError(
            "nobody says whom its tokens are for", "name the audience with --audience A"
        )
    door = DoorUrl.parse(door).url
    authority = order.authority
    if authority is None and door == before.get(labels.DOOR):
        authority = before.get(labels.AUTHORITY)
    return CredentialsSettings(
        door=door,
        audience=check_audience(audience),
        lifetime_seconds=_lifetime(order, config, before.get(labels.LIFETIME)),
        authority=None if authority is None else check_authority(authority),
    )


def _url(domain: Domain, config: Config) -> str:
    """Where a domain's door is: on one machine, at the port that `daypass up` takes."""
    port = config.local.door.port if domain.front == "envoy" else 443
    if port == 0:
        raise UsageError(
            "the door takes any free port (local.door)", "say which it has taken: --door URL"
        )
    return f"https://{str(HostPort(domain.host, port)).removesuffix(':443')}{config.prefix}"


def _audience(config: Config | None) -> str | None:
    if config is None:
        return None
    if config.gate is not None:
        return config.gate.audience
    audiences = config.policy.audiences if config.policy is not None else ()
    return audiences[0] if len(audiences) == 1 else None


def _lifetime(order: CredentialsOptions, config: Config | None, before: str | None) -> int:
    longest = LONGEST_LIFETIME_SECONDS
    if config is not None and config.policy is not None:
        longest = config.policy.longest_lifetime_seconds
    asked = order.lifetime_seconds
    if asked is None:
        return min(lifetime_of(before or ""), longest)
    if not SHORTEST_LIFETIME_SECONDS <= asked <= longest:
        raise UsageError(
            f"a lifetime of {asked} seconds is not possible",
            f"from {SHORTEST_LIFETIME_SECONDS} to {longest} seconds are",
        )
    return asked


_FIELD = r"""s/.*"token": "\([^"]*\)".*/"""
_AUTHORITY = r"""s/.*"certificateAuthority": "\([^"]*\)".*/\1/p"""
_KUBECONFIG = (
    r'{"contexts":[{"name":"c","context":{"user":"u"}}],"current-context":"c",'
    r'"users":[{"name":"u","user":{"token":"\1"}}]}'
)


def exchange_instructions(
    name: IdentityName,
    secret_name: str,
    handover: CredentialsSettings,
    file: str,
    *,
    by_kubectl: bool = True,
) -> str:
    """Lines for a shell in the folder of the credentials file `file`: two ways, each complete.

    `by_kubectl`: the second way too, which the embedded API server does not take.
    """
    quoted = shlex.quote(file)
    trust, curl = [], "curl -sS"
    if handover.authority is not None:
        curl += " --cacert door.crt"
        trust = [f"""  printf '%b' "$(sed -n '{_AUTHORITY}' {quoted})" > door.crt"""]
    bound = {"apiVersion": "v1", "kind": "Secret", "name": secret_name}
    spec = {
        "audiences": [handover.audience],
        "expirationSeconds": handover.lifetime_seconds,
        "boundObjectRef": bound,
    }
    body = shlex.quote(json.dumps({"spec": spec}, separators=(",", ":")))
    path = f"/api/v1/namespaces/{name.namespace}/serviceaccounts/{name.name}/token"
    lines = [
        "with curl:",
        *trust,
        f"  sed -n '{_FIELD}Authorization: Bearer \\1/p' {quoted} |",
        f"    {curl} -H @- -H 'Content-Type: application/json' -d {body} \\",
        f"    {handover.door}{path}",
    ]
    if not by_kubectl:
        return "\n".join(lines)
    line = kubectl(
        "--kubeconfig", "door.kubeconfig", "--server", handover.door,
        *(("--certificate-authority", "door.crt") if trust else ()),
        "-n", name.namespace, "create", "token", name.name, "--audience", handover.audience,
        "--duration", f"{handover.lifetime_seconds}s",
        "--bound-object-kind", "Secret", "--bound-object-name", secret_name,
    )  # fmt: skip
    lines += [
        "with kubectl:",
        *trust,
        f"  (umask 077; sed -n '{_FIELD}{_KUBECONFIG}/p' {quoted} > door.kubeconfig)",
        f"  {line}",
    ]
    return "\n".join(lines)
