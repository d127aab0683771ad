"""Kubernetes objects as plain dictionaries, and the order in which they are made.

Names of the door's and the gate's objects, which others refer to.
"""

from collections.abc import Iterable
from typing import Any

from daypass.config import Config

Object = dict[str, Any]

LABELS = {"app.kubernetes.io/managed-by": "daypass", "app.kubernetes.io/part-of": "daypass"}

_FIRST = (
    "Namespace",
    "PriorityLevelConfiguration",
    "FlowSchema",
    "ServiceAccount",
    "NetworkPolicy",
    "Certificate",
    "ConfigMap",
    "Service",
)
"""What others need is made before them; a NetworkPolicy before there is a pod that it is for."""


def new_object(
    api_version: str, kind: str, name: str, namespace: str = "", **fields: Any
) -> Object:
    """An object that is daypass'; without a namespace where its kind has none."""
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = dict(LABELS)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def annotated(document: Object, annotations: dict[str, str]) -> Object:
    """The object with annotations; none are written where there are none."""
    if not annotations:
        return document
    metadata = {**document["metadata"], "annotations": dict(sorted(annotations.items()))}
    return {**document, "metadata": metadata}


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Objects in the order in which to apply them; the same for the same objects."""

    def key(document: Object) -> tuple[int, str, str, str]:
        kind, metadata = str(document["kind"]), document["metadata"]
        rank = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
        return rank, kind, str(metadata.get("namespace", "")), str(metadata["name"])

    return sorted(objects, key=key)


DOOR = "daypass-door"
"""Deployment, Service, ConfigMap and all else of the door's."""

DOOR_PAIR = "daypass-door-tls"
"""Secret: the certificate that the door shows to the fronts, its key, and `ca.crt` to trust it."""

DOOR_TRUST = "daypass-door-trust"
"""Secret or ConfigMap where a front looks for it: `ca.crt` alone."""

GATE = "daypass-gate"
"""What checks at the gateway; and the authorizer's Deployment, Service and ServiceAccount."""

GATE_WATCH = "daypass-gate-watch"
"""Deployment, ServiceAccount and Lease of who publishes keys and what is revoked."""

GATE_KEYS = "daypass-gate-keys"
"""What is published of the API server's keys."""

GATE_REVOKED = "daypass-gate-revoked"
"""What is published of the revoked; the name begins so where it is in several objects."""

GATE_KNOWN = "daypass-gate-known"
"""ConfigMap: the UIDs that the watch has seen, so that what is deleted meanwhile counts as well."""

GATE_DENIED = "daypass-denied"
"""ConfigMap of denials by hand."""

KNOWN_PARTS = "0123456789abcdef"

GATE_LABEL = "daypass.dev/gate"
"""Label of the namespace where a gate keeps its record, with the value `true`. Only an admin can
set it, so that nobody else can say what was published, and how.
"""

GATE_PAIR = "daypass-gate-tls"
"""Secret: the authorizer's certificate, its key, and `ca.crt` to trust it."""

GATE_TRUST = "daypass-gate-trust"
"""Secret or ConfigMap where the gateway looks for it: `ca.crt` alone."""

API_SERVER_AUTHORITY = "daypass-api-server-authority"
"""ConfigMap or Secret: `ca.crt`, which the API server's certificate is trusted by."""

CLUSTER_AUTHORITY = "kube-root-ca.crt"
"""ConfigMap with `ca.crt`, which Kubernetes keeps in every namespace."""

API_SERVER_NAMESPACE = "default"
"""Where the Service `kubernetes` is."""

SERVICE_PORT = 443


def door_host(config: Config) -> str:
    """What the door is called by the fronts, and what its certificate names.

    Without the domain of the cluster, so that it is the same in every cluster.
    """
    return f"{DOOR}.{config.door.namespace}.svc"


def known_names() -> list[str]:
    """The ConfigMaps with the UIDs, each those that begin with one of KNOWN_PARTS."""
    return [f"{GATE_KNOWN}-{part}" for part in KNOWN_PARTS]


def gate_host(config: Config) -> str:
    """What the authorizer is called by the gateway, and what its certificate names."""
    return f"{GATE}.{config.door.namespace}.svc"
