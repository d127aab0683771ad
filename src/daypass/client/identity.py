"""Whose long-lived token this is, as the token itself says.

Nothing is verified: the names fill in a request to the API server, which verifies. What they must
not do is leave their place in a URL, so they are names of Kubernetes' or an error.
"""

from __future__ import annotations

from daypass._core.clock import utc
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.client.errors import CredentialsError
from daypass.client.names import is_label, is_subdomain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daypass._core.secret import Secret

_FLAT = "kubernetes.io/serviceaccount/"
_CREATE = (
    "put the long-lived token of a Secret of type kubernetes.io/service-account-token there;\n"
    "it is in the credentials file that you were handed"
)


class Identity:
    """A ServiceAccount, and the Secret that its long-lived token is kept in."""

    __slots__ = ("namespace", "secret_name", "service_account")

    def __init__(self, *, namespace: str, service_account: str, secret_name: str) -> None:
        self.namespace = namespace
        self.service_account = service_account
        self.secret_name = secret_name

    def __repr__(self) -> str:
        return f"Identity({self.namespace}/{self.service_account}, Secret {self.secret_name})"


def read_identity(token: Secret, now_unix: float) -> Identity:
    """The identity in a long-lived token's claims; raises CredentialsError."""
    value = token.reveal()
    try:
        _, claims = decode_unverified(value)
        if value.endswith("."):
            raise MalformedTokenError("the token has no signature")
    except MalformedTokenError as error:
        fact, hint = f"this is not a ServiceAccount's token: {error.fact}", _CREATE
        if value.startswith("ZXlK"):  # what `eyJ`, the beginning of every JWT, is in base64
            hint = "it looks like one in base64, as Secrets hold it: decode it with base64 -d"
        raise CredentialsError(fact, hint) from None
    if isinstance(claims.get("kubernetes.io"), dict) or "exp" in claims:
        raise CredentialsError(*_short_lived(claims, now_unix))
    return _flat_claims(claims)


def _flat_claims(claims: dict[str, Any]) -> Identity:
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
    return Identity(namespace=namespace, service_account=service_account, secret_name=secret_name)


def _short_lived(claims: dict[str, Any], now_unix: float) -> tuple[str, str]:
    expires = claims.get("exp")
    when = ""
    if isinstance(expires, int) and 0 < expires < 2**36:
        verb = "expired" if expires <= now_unix else "expires"
        when = f", which {verb} at {utc(expires):%Y-%m-%dT%H:%M:%SZ}"
    return f"this is a short-lived token{when}, not the long-lived one", _CREATE
