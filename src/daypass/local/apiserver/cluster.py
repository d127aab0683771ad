"""What every handler works on: the settings, the objects, the keys, the time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from daypass._core.clock import Clock, utc
from daypass.local.apiserver.authentication import Authenticator
from daypass.local.apiserver.store import Object, Store
from daypass.local.apiserver.tokens import Issuer, KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the flags of kube-apiserver are there.

    `audiences`: the API server's own. `max_expiration_seconds`:
    --service-account-max-token-expiration. `certificate_authority`: PEM, for token Secrets and
    kube-root-ca.crt. `address`: host and port, for OpenID discovery.
    """

    issuer: str
    audiences: tuple[str, ...]
    max_expiration_seconds: int
    certificate_authority: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """One cluster's state."""

    settings: ServerSettings
    store: Store
    keys: KeyRing
    clock: Clock
    issuer: Issuer
    authenticator: Authenticator

    def now(self) -> str:
        """The time as Kubernetes writes it."""
        return rfc3339(self.clock.unix())

    def identified(self, obj: Object) -> Object:
        """A new object with a UID and a time of creation."""
        known = {"uid": str(uuid.uuid4()), "creationTimestamp": self.now()}
        return {**obj, "metadata": {**obj["metadata"], **known}}


def rfc3339(unix_seconds: float) -> str:
    """A time as Kubernetes writes it."""
    return f"{utc(unix_seconds):%Y-%m-%dT%H:%M:%SZ}"
