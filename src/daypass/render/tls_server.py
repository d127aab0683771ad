"""The two servers of daypass that a gateway speaks TLS to, and how a gateway verifies them."""

from dataclasses import dataclass
from typing import Literal

from daypass.config import Config
from daypass.render.names import (
    DOOR,
    DOOR_PAIR,
    DOOR_TRUST,
    GATE,
    GATE_PAIR,
    GATE_TRUST,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsServer:
    """The door or the authorizer. `name`: of its Service, in `namespace`.

    `pair`: the Secret with its certificate, key, and the `ca.crt` that verifies it. `trust`: the
    Secret or ConfigMap where a gateway looks for that `ca.crt`.
    """

    name: str
    namespace: str
    pair: str
    trust: str

    @property
    def host(self) -> str:
        """Its name for gateways and in its certificate.

        Without the cluster's domain, so that it is the same in every cluster.
        """
        return f"{self.name}.{self.namespace}.svc"


def door_server(config: Config) -> TlsServer:
    """Return the door."""
    return TlsServer(name=DOOR, namespace=config.door.namespace, pair=DOOR_PAIR, trust=DOOR_TRUST)


def authorizer_server(config: Config) -> TlsServer:
    """Return the gate's authorizer."""
    return TlsServer(name=GATE, namespace=config.door.namespace, pair=GATE_PAIR, trust=GATE_TRUST)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityLocation:
    """Where a gateway looks for the authority of a server."""

    kind: Literal["Secret", "ConfigMap"]
    namespace: str
