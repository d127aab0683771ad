"""The names of the objects that are rendered, and the order in which to apply them."""

from collections.abc import Iterable

from daypass._core.errors import UsageError
from daypass._core.objects import Object
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

WAVES = (
    ("Namespace",),
    # What pods need, and what limits access before there is any.
    (
        "PriorityLevelConfiguration",
        "FlowSchema",
        "ServiceAccount",
        "NetworkPolicy",
        "Certificate",
        "ConfigMap",
        "Secret",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "AuthorizationPolicy",
        "EnvoyFilter",
        "SecurityPolicy",
        "ClientTrafficPolicy",
        "ReferenceGrant",
    ),
    # What an ingress or gateway has to find before a route leads to it.
    (
        "Service",
        "DestinationRule",
        "BackendTLSPolicy",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ),
)
"""Kinds in the order in which to apply them; `apply` applies a wave at once. What is in none opens
access from outside and comes last."""
_ORDER = [kind for wave in WAVES for kind in wave]


class RenderError(UsageError):
    """A config has no manifests: it leaves open something that they need."""


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Return objects in the order in which to apply them; the same for the same objects."""

    def key(document: Object) -> tuple[int, str, str, str]:
        kind, metadata = str(document["kind"]), document["metadata"]
        rank = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
        return rank, kind, str(metadata.get("namespace", "")), str(metadata["name"])

    return sorted(objects, key=key)


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
