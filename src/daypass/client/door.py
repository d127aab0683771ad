"""A door: its URL, and the TokenRequest that is sent to it."""

from __future__ import annotations

import json

from daypass._core.kubernetes.syntax import (
    AUDIENCE_HINT,
    LONGEST_TOKEN_SECONDS,
    SHORTEST_TOKEN_SECONDS,
    is_audience,
    is_lifetime,
)
from daypass._core.net import HostPort, is_loopback
from daypass._core.record import Record
from daypass.client.errors import CredentialsError
from daypass.client.http1 import USER_AGENT, HttpRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.secret import Secret
    from daypass.client.subject_token import TokenIdentity

_PATH = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")
_EXAMPLE = "it looks like https://kubeflow.example.com/kubernetes"


class DoorUrl(Record):
    """The URL of a door: scheme, host and port, and the path under which it is published."""

    tls: bool
    address: HostPort
    path: str
    url: str

    @property
    def authority(self) -> str:
        """The value of the Host header: it has a port only if it is not the scheme's default."""
        text = str(self.address)
        return text.removesuffix(":443") if self.tls else text.removesuffix(":80")

    @classmethod
    def parse(cls, text: str) -> DoorUrl:
        """Return the door of a URL; raises CredentialsError."""
        scheme, separator, rest = text.partition("://")
        authority, slash, path = rest.partition("/")
        scheme, path = scheme.lower(), slash + path
        if not separator or scheme not in ("https", "http"):
            raise CredentialsError("the door's URL does not begin with https://", _EXAMPLE)
        address = HostPort.parse(authority, default_port=443 if scheme == "https" else 80)
        if address is None:
            raise CredentialsError("the door's URL names no host and port", _EXAMPLE)
        if scheme == "http" and not is_loopback(address.host):
            raise CredentialsError(
                "the door's URL begins with http://, which would send the token in the clear",
                f"use https://{authority}{path}; plain http is for loopback addresses only",
            )
        path = _path(path, authority)
        url = f"{scheme}://{authority}{path}"
        return cls(tls=scheme == "https", address=address, path=path, url=url)


def _path(path: str, authority: str) -> str:
    path = path.rstrip("/")
    if not path:
        raise CredentialsError(
            "the door's URL has no path",
            f"doors are published below a prefix: try https://{authority}/kubernetes",
        )
    parts = path.split("/")[1:]
    if not _PATH.issuperset(path) or not all(p.strip(".") for p in parts):
        raise CredentialsError("the path of the door's URL is not a plain one", _EXAMPLE)
    return path


def check_audience(audience: object) -> str:
    """Return the audience if it can be requested; raises CredentialsError."""
    if not isinstance(audience, str):  # a request: httpx and requests call a function as `auth`
        raise CredentialsError(
            f"an audience is expected here, not an object of type {type(audience).__name__}",
            "name one, as a string; as `auth`, pass an adapter of daypass.integrations",
            reason="invalid-audience",
        )
    if not audience:
        raise CredentialsError(
            "no audience is set",
            "name one: audience=AUDIENCE, or `audience` in the credentials file",
            reason="no-audience",
        )
    if not is_audience(audience):
        raise CredentialsError(
            "the audience is not a valid one", AUDIENCE_HINT, reason="invalid-audience"
        )
    return audience


def check_lifetime(seconds: object, hint: str = "try lifetime_seconds=3600") -> int:
    """Return the lifetime if an API server may grant it; raises CredentialsError with this hint."""
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        fact = "the lifetime is not a whole number of seconds"
    elif not is_lifetime(seconds):
        bounds = f"{SHORTEST_TOKEN_SECONDS} to {LONGEST_TOKEN_SECONDS}"
        fact = f"a lifetime of {seconds} seconds is not possible: Kubernetes allows {bounds}"
    else:
        return seconds
    raise CredentialsError(fact, hint, reason="invalid-lifetime")


class TokenRequest(Record):
    """What an exchange requests, and what its errors may name."""

    door: DoorUrl
    identity: TokenIdentity
    token: Secret
    audience: str
    lifetime_seconds: int

    def encode(self) -> HttpRequest:
        """Return the HTTP request.

        The new token is bound to the identity's Secret, and is invalid once that is deleted. The
        Secret's UID is not known here; the API server does not require it.
        """
        spec: dict[str, object] = {
            "audiences": [self.audience],
            "expirationSeconds": self.lifetime_seconds,
        }
        if self.identity.secret_name is not None:
            name = self.identity.secret_name
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": name}
        document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        body = json.dumps(document, separators=(",", ":")).encode()
        names = (
            f"namespaces/{self.identity.namespace}/serviceaccounts/{self.identity.service_account}"
        )
        return HttpRequest(
            method="POST",
            target=f"{self.door.path}/api/v1/{names}/token",
            headers=(
                ("Host", self.door.authority),
                ("Authorization", f"Bearer {self.token.reveal()}"),
                ("Content-Type", "application/json"),
                ("Accept", "application/json"),
                ("User-Agent", USER_AGENT),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ),
            body=body,
        )


def require_tls(scheme: str, host: str | None) -> None:
    """Raise CredentialsError if a token would pass a network in the clear."""
    if scheme in ("http", "ws") and not is_loopback(host or ""):
        raise CredentialsError(
            f"{scheme}://{host} would get the token in the clear",
            f"use {scheme}s://{host}; plain {scheme} is for loopback addresses only",
            reason="no-tls",
        )
