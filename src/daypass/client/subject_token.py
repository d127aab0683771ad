"""The subject token: the one that is exchanged, where it comes from, and the account it is for.

A file or a variable is read with the credentials, and again when they are (`ReloadingConfig`). A
program and GitHub (`github`) are asked at each exchange.

Claims are read and not verified: they fill in a request to the API server, which verifies the
token. They become a part of a URL, so names that Kubernetes does not allow are an error.
"""

from __future__ import annotations

from daypass._core.clock import rfc3339, utc
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.kubernetes.syntax import is_label, is_subdomain
from daypass._core.process import ProgramError, run_program
from daypass._core.record import Record
from daypass._core.secret import Secret, redact
from daypass._core.text import printable
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from daypass.client.transport import Deadline, Send

    class SubjectToken(Protocol):
        """A source of the token that is exchanged."""

        def get(self, deadline: Deadline, send: Send) -> Secret:
            """Return the token; raises CredentialsError and DoorUnreachableError."""
            ...


ALLOW_EXEC = "DAYPASS_ALLOW_EXEC"
PROGRAM_SECONDS = 10.0
_LIMIT_OUTPUT_BYTES = 64 * 1024

_FLAT = "kubernetes.io/serviceaccount/"
_CREATE = (
    "use the long-lived token of a Secret of type kubernetes.io/service-account-token;\n"
    "it is in your credentials file"
)
_REQUEST = (
    "it has to be the token of another issuer, whole and nothing else: in CI the job requests it,\n"
    "in GitLab with `id_tokens:`"
)
_FEDERATE = (
    "a token of another issuer is for federation: then the file also has the namespace and the\n"
    "serviceAccount that it is exchanged for"
)


class TokenIdentity(Record):
    """A ServiceAccount, and the Secret that its short-lived tokens are bound to.

    `is_federated`: the subject token is another issuer's. Then the credentials file may name the
    Secret. Otherwise it is that of the long-lived token.
    """

    namespace: str
    service_account: str
    secret_name: str | None
    is_federated: bool


def named_identity(namespace: str, service_account: str, secret_name: str | None) -> TokenIdentity:
    """Return the identity that a credentials file names; raises CredentialsError."""
    identity = TokenIdentity(
        namespace=namespace,
        service_account=service_account,
        secret_name=secret_name,
        is_federated=True,
    )
    hint = "is it the name that Kubernetes shows?"
    return _checked(identity, ("namespace", "serviceAccount", "secretName"), "credentials", hint)


def _checked(
    identity: TokenIdentity, kinds: tuple[str, str, str], where: str, hint: str
) -> TokenIdentity:
    account, secret = identity.service_account, identity.secret_name
    names = (identity.namespace, account, account if secret is None else secret)
    checks = (is_label, is_subdomain, is_subdomain)
    for kind, name, is_name in zip(kinds, names, checks, strict=True):
        if not isinstance(name, str) or not is_name(name):
            raise CredentialsError(
                f"the {kind} in the {where} is not a valid name", hint, reason="invalid-name"
            )
    return identity


def read_identity(
    token: Secret, now_unix: float, named: TokenIdentity | None = None
) -> TokenIdentity:
    """Return the identity that a subject token is for. Raises CredentialsError.

    `named`: the identity in the credentials file. It is required for another issuer's token; a
    long-lived token names its own, and the two have to agree.
    """
    claims = decode_claims(token, named)
    if _FLAT + "namespace" in claims:
        own = _flat_claims(claims)
        if named is not None and _names(own) != _names(named):
            raise CredentialsError(
                f"the token is for {own.namespace}/{own.service_account}, but the credentials"
                f" name {named.namespace}/{named.service_account}",
                "remove namespace and serviceAccount: the token contains both",
                reason="identity-mismatch",
            )
        return own
    if named is None:
        if isinstance(claims.get("kubernetes.io"), dict):
            raise CredentialsError(
                f"this is a short-lived token{_expiry(claims, now_unix)}, not the long-lived one",
                _CREATE,
                reason="short-lived-token",
            )
        raise CredentialsError(
            "this token is not the long-lived token of a ServiceAccount",
            f"{_CREATE};\n{_FEDERATE}",
            reason="not-a-service-account-token",
        )
    expires = claims.get("exp")
    if type(expires) is int and expires <= now_unix - 60:
        raise CredentialsError(
            f"the subject token{_expiry(claims, now_unix)}",
            "get a new one from its issuer: in CI, a job's token expires with the job",
            reason="subject-token-expired",
        )
    return named


def decode_claims(token: Secret, named: TokenIdentity | None = None) -> dict[str, Any]:
    """Return the claims of a subject token. Raises CredentialsError."""
    value = token.reveal()
    try:
        _, claims = decode_unverified(value)
        if value.endswith("."):
            raise MalformedTokenError("the token has no signature")
    except MalformedTokenError as error:
        what = "this is not a ServiceAccount's token"
        if named is not None:
            what = f"the token to exchange for {named.namespace}/{named.service_account} is invalid"
        fact, hint = f"{what}: {error.fact}", _hint(value, is_federated=named is not None)
        raise CredentialsError(fact, hint, reason="malformed-token") from None
    return claims


def _hint(value: str, *, is_federated: bool) -> str:
    if value.startswith("ZXlK"):  # `eyJ`, the beginning of every JWT, in base64
        return "it looks like a token in base64, as in a Secret: decode it with base64 -d"
    if value.startswith(("/", "./", "~/")):
        how = 'write {"file": "PATH"}' if is_federated else "use DAYPASS_TOKEN_FILE"
        return f"it looks like the path of a file: {how} for a path"
    if value.startswith("{") and not is_federated:
        return "it looks like a credentials file: set DAYPASS_CREDENTIALS to its path"
    if "eyJ" in value and not value.startswith("eyJ"):
        return "it has to be the token alone, which begins with eyJ"
    return _REQUEST if is_federated else _CREATE


def _flat_claims(claims: dict[str, Any]) -> TokenIdentity:
    namespace = claims.get(_FLAT + "namespace")
    service_account = claims.get(_FLAT + "service-account.name")
    secret_name = claims.get(_FLAT + "secret.name")
    if namespace is None or service_account is None or secret_name is None:
        raise CredentialsError(
            "this token is not the long-lived token of a ServiceAccount",
            _CREATE,
            reason="not-a-service-account-token",
        )
    identity = TokenIdentity(
        namespace=namespace,
        service_account=service_account,
        secret_name=secret_name,
        is_federated=False,
    )
    return _checked(identity, ("namespace", "ServiceAccount", "Secret"), "token", _CREATE)


def _names(identity: TokenIdentity) -> tuple[str, str]:
    return identity.namespace, identity.service_account


def _expiry(claims: dict[str, Any], now_unix: float) -> str:
    expires = claims.get("exp")
    if not isinstance(expires, int) or not 0 < expires < 2**36:
        return ""
    verb = "expired" if expires <= now_unix else "expires"
    return f", which {verb} at {rfc3339(utc(expires))}"


class StaticToken:
    """A token from the credentials file, another file or a variable; `text` is stripped."""

    def __init__(self, text: str) -> None:
        self.token = Secret(text.strip())

    def get(self, deadline: Deadline, send: Send) -> Secret:
        """Return the token."""
        return self.token


class ExecToken(Record):
    """A token that a program prints.

    It requires DAYPASS_ALLOW_EXEC=1: a credentials file is passed on, and must not run code.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]

    def get(self, deadline: Deadline, send: Send) -> Secret:
        """Run the program and return what it prints; raises CredentialsError."""
        name = redact(self.command[0])
        if self.environ.get(ALLOW_EXEC) != "1":
            raise CredentialsError(
                f"the credentials run the program {name!r} for their token; that is not allowed",
                f"if you trust the author of this file: {ALLOW_EXEC}=1",
                reason="exec-not-allowed",
            )
        try:
            output = run_program(
                self.command,
                timeout_seconds=min(PROGRAM_SECONDS, deadline.seconds_left()),
                limit_bytes=_LIMIT_OUTPUT_BYTES,
                clock=deadline.clock,
            )
        except ProgramError as error:
            words = printable(redact(error.stderr.decode("utf-8", "replace")))
            problem = CredentialsError(
                f"the program {name!r} gives no token: it {error.reason}",
                f"it reports: {words}"
                if words
                else "run it by hand: it has to print a token on stdout, and nothing else",
                reason="program-failed",
            )
        else:
            return Secret(output.decode("utf-8", "replace").strip())
        raise problem  # not inside `except`: the output must not be its context
