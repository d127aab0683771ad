"""What the authorizer may do, and nothing else."""

from daypass.render.names import GATE, GATE_REVOKED
from daypass.render.objects import Object, new_object

_RBAC = "rbac.authorization.k8s.io"
DELEGATOR = "system:auth-delegator"
"""Kubernetes' own ClusterRole: to create TokenReviews (and SubjectAccessReviews)."""


def rights(home: str) -> list[Object]:
    """`home`: its namespace, where the list of the revoked is as well."""
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [GATE_REVOKED],
        "verbs": ["get", "watch"],
    }
    return [
        new_object("v1", "ServiceAccount", GATE, home),
        _binding("ClusterRoleBinding", "ClusterRole", DELEGATOR, home),
        new_object(f"{_RBAC}/v1", "Role", GATE, home, rules=[rule]),
        _binding("RoleBinding", "Role", GATE, home),
    ]


def _binding(kind: str, role_kind: str, role: str, home: str) -> Object:
    return new_object(
        f"{_RBAC}/v1",
        kind,
        GATE,
        home if kind == "RoleBinding" else "",
        roleRef={"apiGroup": _RBAC, "kind": role_kind, "name": role},
        subjects=[{"kind": "ServiceAccount", "name": GATE, "namespace": home}],
    )
