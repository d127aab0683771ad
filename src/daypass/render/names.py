"""The names of the objects that daypass renders or publishes, and those that it relies on."""

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
