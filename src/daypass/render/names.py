"""The names of the objects that daypass renders or publishes, and those that it relies on."""

from daypass.config import Config, Gate

DOOR = "daypass-door"
"""The door's Deployment, Service, ConfigMap and other objects."""

DOOR_PAIR = "daypass-door-tls"
"""Secret: the door's serving certificate, its key, and the `ca.crt` that verifies it."""

DOOR_TRUST = "daypass-door-trust"
"""Secret or ConfigMap where an ingress or gateway looks for the door's `ca.crt`."""

GATE = "daypass-gate"
"""The gateway's checks; the authorizer's Deployment, Service and ServiceAccount."""

GATE_WATCH = "daypass-gate-watch"
"""Deployment, ServiceAccount and Lease of the watch, which publishes keys and credentials."""

GATE_KEYS = "daypass-gate-keys"
"""The published keys of the API server."""

GATE_DENIED = "daypass-denied"
"""ConfigMap of denials that an administrator has entered."""

GATE_PAIR = "daypass-gate-tls"
"""Secret: the authorizer's serving certificate, its key, and the `ca.crt` that verifies it."""

GATE_TRUST = "daypass-gate-trust"
"""Secret or ConfigMap where the gateway looks for the authorizer's `ca.crt`."""

API_SERVER_AUTHORITY = "daypass-api-server-authority"
"""ConfigMap or Secret: the `ca.crt` that verifies the API server."""

CLUSTER_AUTHORITY = "kube-root-ca.crt"
"""ConfigMap with `ca.crt`, which Kubernetes maintains in every namespace."""

API_SERVER_NAMESPACE = "default"
"""The namespace of the Service `kubernetes`."""

SERVICE_PORT = 443

_GATEWAY_NAMESPACES = {"istio": "istio-system", "envoy-gateway": "envoy-gateway-system"}


def door_host(config: Config) -> str:
    """Return the door's name for fronts and in its certificate.

    Without the cluster's domain, so that it is the same in every cluster.
    """
    return f"{DOOR}.{config.door.namespace}.svc"


def gate_host(config: Config) -> str:
    """Return the authorizer's name for the gateway and in its certificate."""
    return f"{GATE}.{config.door.namespace}.svc"


def gateway_namespace(gate: Gate) -> str:
    """Return the namespace of the guarded gateway's pods."""
    return gate.front_namespace or _GATEWAY_NAMESPACES[gate.engine]
