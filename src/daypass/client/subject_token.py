"""The subject token: the one that is exchanged, where it comes from, and the account it is for.

A file or a variable is read with the credentials, and again when they are (`ReloadingConfig`).
GitHub is asked at each exchange.

Claims are read and not verified: they fill in a request to the API server, which verifies the
token. They become a part of a URL, so names that Kubernetes does not allow are an error.
"""

from __future__ import annotations

import json

from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.kubernetes.syntax import is_label, is_subdomain
from daypass._core.net import HostPort, is_loopback
from daypass._core.record import Record
from daypass._core.secret import Secret
from daypass.client.errors import CredentialsError, DoorUnreachableError
from daypass.client.http1 import USER_AGENT, HttpRequest
from daypass.client.transport import TransportError, route_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from daypass.client.http1 import HttpResponse
    from daypass.client.transport import Deadline, Route, Send

    class SubjectToken(Protocol):
        """A source of the token that is exchanged."""

        def get(self, deadline: Deadline, send: Send) -> Secret:
            """Return the token; raises CredentialsError and DoorUnreachableError."""
            ...


_URL, _TOKEN = GITHUB_VARIABLES = (
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)
_PERMIT = "give the job `permissions: {id-token: write}`; outside GitHub Actions there is none"
_VISIBLE = frozenset(chr(c) for c in range(0x21, 0x7F))

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


def read_identity(token: Secret, named: TokenIdentity | None = None) -> TokenIdentity:
    """Return the identity that a subject token is for. Raises CredentialsError.

    `named`: the identity in the credentials file. It is required for another issuer's token; a
    long-lived token names its own.
    """
    claims = decode_claims(token, named)
    if _FLAT + "namespace" in claims:
        return _flat_claims(claims)
    if named is None:
        raise CredentialsError(
            "this token is not the long-lived token of a ServiceAccount",
            f"{_CREATE};\n{_FEDERATE}",
            reason="not-a-service-account-token",
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
        hint = _CREATE if named is None else _REQUEST
        if value.startswith("ZXlK"):  # `eyJ`, the beginning of every JWT, in base64
            hint = "it looks like a token in base64, as in a Secret: decode it with base64 -d"
        raise CredentialsError(f"{what}: {error.fact}", hint, reason="malformed-token") from None
    return claims


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


class StaticToken:
    """A token from the credentials file, another file or a variable; `text` is stripped."""

    def __init__(self, text: str) -> None:
        self.token = Secret(text.strip())

    def get(self, deadline: Deadline, send: Send) -> Secret:
        """Return the token."""
        return self.token


# -- GitHub Actions, as `getIDToken` of actions/toolkit does it


class GitHubToken(Record):
    """The OIDC token of a job in GitHub Actions, for an audience.

    docs.github.com/actions/reference/openid-connect-reference: a GET of
    ACTIONS_ID_TOKEN_REQUEST_URL with the audience, by the job's ACTIONS_ID_TOKEN_REQUEST_TOKEN.
    """

    audience: str
    environ: Mapping[str, str]

    def get(self, deadline: Deadline, send: Send) -> Secret:
        """Request the token.

        Raises CredentialsError, and DoorUnreachableError if GitHub does not answer.
        """
        request, route = _github_request(self.audience, self.environ)
        try:
            response = send(route, request, deadline)
        except TransportError as error:
            raise DoorUnreachableError(
                f"{route.target}, which issues GitHub's OIDC tokens, does not answer"
                f" ({error.stage})",
                "is GitHub up? If only a proxy has access, set HTTPS_PROXY",
                reason="github-unreachable",
                is_retried=True,
            ) from error.__cause__
        return _read_github_token(response, self.environ)


def _github_request(audience: str, environ: Mapping[str, str]) -> tuple[HttpRequest, Route]:
    from urllib.parse import quote

    url, token = (environ.get(name, "") for name in (_URL, _TOKEN))
    if not url or not token:
        raise CredentialsError(
            f"{_TOKEN if url else _URL} is not set", _PERMIT, reason="missing-variable"
        )
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    address = HostPort.parse(authority, default_port=443 if scheme == "https" else 80)
    is_plain = scheme == "http" and address is not None and is_loopback(address.host)
    if (
        address is None
        or not (scheme == "https" or is_plain)
        or not _VISIBLE.issuperset(rest + token)
    ):
        raise CredentialsError(
            f"{_URL} is not an https URL, or {_TOKEN} not a token",
            _PERMIT,
            reason="invalid-variable",
        )
    separator = "&" if "?" in path else "?"
    headers = (
        ("Host", authority),
        ("Authorization", f"Bearer {token}"),
        ("Accept", "application/json"),
        ("User-Agent", USER_AGENT),
        ("Connection", "close"),
    )
    target = f"{slash or '/'}{path}{separator}audience={quote(audience, safe='')}"
    return HttpRequest(method="GET", target=target, headers=headers), route_to(
        address, tls=scheme == "https"
    )


def _read_github_token(response: HttpResponse, environ: Mapping[str, str]) -> Secret:
    if response.status >= 500 or response.status == 429:
        raise DoorUnreachableError(
            f"GitHub issues no OIDC token at the moment (it answers {response.status})",
            "try again later",
            reason="github-unavailable",
            is_retried=response.status >= 500,
        )
    if response.status != 200:
        raise CredentialsError(
            f"GitHub issues no OIDC token (it answers {response.status})",
            _PERMIT,
            reason="github-refused",
        )
    try:
        value = json.loads(response.body)["value"]
    except (ValueError, RecursionError, LookupError, TypeError):
        value = None
    if (
        not isinstance(value, str) or not value or value == environ[_TOKEN]
    ):  # the job's own must not reach the door
        raise CredentialsError(
            f"the response of {_URL} contains no token",
            "is it the URL that GitHub sets?",
            reason="github-refused",
        )
    return Secret(value)
