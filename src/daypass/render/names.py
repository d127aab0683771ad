"""The names of objects that daypass renders, publishes or relies on, and its two TLS servers."""

from dataclasses import dataclass
from typing import Literal

DOOR = "daypass-door"
"""The door's Deployment, Service, ConfigMap and other objects."""

DOOR_PAIR = "daypass-door-tls"
"""Secret: the door's serving certificate, its key, and the `ca.crt` that verifies it."""

DOOR_TRUST = "daypass-door-trust"
"""Secret or ConfigMap where an ingress or gateway looks for the door's `ca.crt`."""

GATE = "daypass-gate"
"""The gateway's checks; the authorizer's Deployment, Service and ServiceAccount."""

GATE_WATCH = "daypass-gate-watch"
"""Deployment, ServiceAccount and Lease of the watch, which publishes keys and credentials; its Role
in namespaces of identities."""

GATE_PUBLISHER = "daypass-gate-publisher"
"""The watch's Role where it publishes: in its own namespace and in those of gateways, which may
have identities, too."""

GATE_KEYS = "daypass-gate-keys"
"""The published keys of the API server."""

GATE_DENIED = "daypass-denied"
"""ConfigMap of denials that an administrator has entered."""

GATE_PAIR = "daypass-gate-tls"
"""Secret: the authorizer's serving certificate, its key, and the `ca.crt` that verifies it."""

GATE_TRUST = "daypass-gate-trust"
"""Secret or ConfigMap where the gateway looks for the authorizer's `ca.crt`."""

API_SERVER_AUTHORITY = "daypass-api-server-authority"
"""ConfigMap: the `ca.crt` that verifies the API server."""

CLUSTER_AUTHORITY = "kube-root-ca.crt"
"""ConfigMap with `ca.crt`, which Kubernetes maintains in every namespace."""

SERVICE_PORT = 443


def gate_prefix(gate: str) -> str:
    """Return the beginning of the paths at which the authorizer answers for a gate. The client's
    path follows it, from the first slash on. So no client can name another gate.
    """
    return f"/gate/{gate}/"


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


def door_server(namespace: str) -> TlsServer:
    """Return the door, which is in this namespace."""
    return TlsServer(name=DOOR, namespace=namespace, pair=DOOR_PAIR, trust=DOOR_TRUST)


def authorizer_server(namespace: str) -> TlsServer:
    """Return the gate's authorizer, which is in this namespace."""
    return TlsServer(name=GATE, namespace=namespace, pair=GATE_PAIR, trust=GATE_TRUST)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityLocation:
    """Where a gateway looks for the authority of a server."""

    kind: Literal["Secret", "ConfigMap"]
    namespace: str
