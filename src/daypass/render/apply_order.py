"""The order in which to apply objects."""

from collections.abc import Iterable

from daypass._core.objects import Object

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


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Return objects in the order in which to apply them; the same for the same objects."""

    def key(document: Object) -> tuple[int, str, str, str]:
        kind, metadata = str(document["kind"]), document["metadata"]
        rank = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
        return rank, kind, str(metadata.get("namespace", "")), str(metadata["name"])

    return sorted(objects, key=key)
