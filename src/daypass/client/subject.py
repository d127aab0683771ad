"""Whose token the long-lived one is: as it says itself, or, for somebody else's, as the file says.

Nothing is verified: the names fill in a request to the API server, which verifies. What they must
not do is leave their place in a URL, so they are names of Kubernetes' or an error.
"""

from __future__ import annotations

from daypass._core.clock import utc
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.k8s_names import is_label, is_subdomain
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daypass._core.secret import Secret


_FLAT = "kubernetes.io/serviceaccount/"
_CREATE = (
    "put the long-lived token of a Secret of type kubernetes.io/service-account-token there;\n"
    "it is in the credentials file that you were handed"
)
_FEDERATE = (
    "a token of somebody else's is for federation: then the file also names the namespace and the\n"
    "serviceAccount to become"
)


class TokenIdentity:
    """A ServiceAccount, and the Secret that its long-lived token is kept in.

    `secret_name` is None for federation, where the token is another issuer's.
    """

    __slots__ = ("namespace", "secret_name", "service_account")

    def __init__(self, *, namespace: str, service_account: str, secret_name: str | None) -> None:
        self.namespace = namespace
        self.service_account = service_account
        self.secret_name = secret_name

    def __repr__(self) -> str:
        secret = f", Secret {self.secret_name}" if self.secret_name else ""
        return f"Identity({self.namespace}/{self.service_account}{secret})"


def named_identity(namespace: str, service_account: str) -> TokenIdentity:
    """The identity that a credentials file names; raises CredentialsError."""
    if not is_label(namespace) or not is_subdomain(service_account):
        what = "serviceAccount" if is_label(namespace) else "namespace"
        raise CredentialsError(
            f"the credentials name a {what} that can't exist", "is it Kubernetes' own name?"
        )
    return TokenIdentity(namespace=namespace, service_account=service_account, secret_name=None)


def read_identity(
    token: Secret, now_unix: float, stated: TokenIdentity | None = None
) -> TokenIdentity:
    """The identity behind a token. `stated`: what the file names, needed for another issuer's
    token, and for nobody else to differ from. Raises CredentialsError."""
    claims = _claims(token)
    if _FLAT + "namespace" in claims:
        own = _flat_claims(claims)
        if stated is not None and _names(own) != _names(stated):
            raise CredentialsError(
                f"the token is one of {own.namespace}/{own.service_account}, and the credentials"
                f" name {stated.namespace}/{stated.service_account}",
                "leave namespace and serviceAccount out: the token says both",
            )
        return own
    if stated is None:
        if isinstance(claims.get("kubernetes.io"), dict):
            raise CredentialsError(
                f"this is a short-lived token{_when(claims, now_unix)}, not the long-lived one",
                _CREATE,
            )
        raise CredentialsError(
            "this is a token, but not a ServiceAccount's long-lived one", f"{_CREATE};\n{_FEDERATE}"
        )
    expires = claims.get("exp")
    if isinstance(expires, int) and expires <= now_unix - 60:
        raise CredentialsError(
            f"the token to trade{_when(claims, now_unix)}",
            "it is another issuer's, who has to give a new one: in CI a job's token ends with it",
        )
    return stated


def _claims(token: Secret) -> dict[str, Any]:
    value = token.reveal()
    try:
        _, claims = decode_unverified(value)
        if value.endswith("."):
            raise MalformedTokenError("the token has no signature")
    except MalformedTokenError as error:
        raise CredentialsError(
            f"this is not a ServiceAccount's token: {error.fact}", _looks_like(value)
        ) from None
    return claims


def _looks_like(value: str) -> str:
    if value.startswith("ZXlK"):  # what `eyJ`, the beginning of every JWT, is in base64
        return "it looks like one in base64, as Secrets hold it: decode it with base64 -d"
    if value.startswith("{"):
        return "it looks like a credentials file: name it by DAYPASS_CREDENTIALS"
    if value.startswith(("/", "./", "~/")):
        return "it looks like a file's path: name a token's file by DAYPASS_TOKEN_FILE"
    return _CREATE


def _flat_claims(claims: dict[str, Any]) -> TokenIdentity:
    namespace = claims.get(_FLAT + "namespace")
    service_account = claims.get(_FLAT + "service-account.name")
    secret_name = claims.get(_FLAT + "secret.name")
    if namespace is None or service_account is None or secret_name is None:
        raise CredentialsError(
            "this is a token, but not a ServiceAccount's long-lived one", _CREATE
        )
    checks = (
        ("namespace", namespace, is_label),
        ("ServiceAccount", service_account, is_subdomain),
        ("Secret", secret_name, is_subdomain),
    )
    for what, name, is_name in checks:
        if not isinstance(name, str) or not is_name(name):
            raise CredentialsError(f"the token names a {what} that can't exist", _CREATE)
    return TokenIdentity(
        namespace=namespace, service_account=service_account, secret_name=secret_name
    )


def _names(identity: TokenIdentity) -> tuple[str, str]:
    return identity.namespace, identity.service_account


def _when(claims: dict[str, Any], now_unix: float) -> str:
    expires = claims.get("exp")
    if not isinstance(expires, int) or not 0 < expires < 2**36:
        return ""
    verb = "expired" if expires <= now_unix else "expires"
    return f", which {verb} at {utc(expires):%Y-%m-%dT%H:%M:%SZ}"
