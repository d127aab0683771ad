"""The namespaces, ClusterRoles and bindings that are there from the start.

The rules are Kubernetes' own (kubectl get clusterroles, v1.37), as far as they speak of kinds that
the embedded API server has. `admin`, `edit` and `view` are whole: nothing aggregates here.
"""

from __future__ import annotations

from typing import Any

from daypass.local.api.identity import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from daypass.local.api.kinds import AUTHENTICATION, AUTHORIZATION, RBAC
from daypass.local.api.store import Object

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]


def _rule(verbs: list[str], group: str, *resources: str) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


def _paths(*paths: str) -> dict[str, Any]:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_VIEW = [
    _rule(_READ, "", "configmaps", "pods", "serviceaccounts", "namespaces", "pods/status",
          "namespaces/status"),
]  # fmt: skip
_EDIT = [
    *_VIEW,
    _rule(_READ, "", "secrets"),
    _rule(["impersonate"], "", "serviceaccounts"),
    _rule(_WRITE, "", "pods", "configmaps", "secrets", "serviceaccounts"),
    _rule(["create"], "", "serviceaccounts/token"),
]
_ROLES: dict[str, list[dict[str, Any]]] = {
    "cluster-admin": [_rule(["*"], "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "admin": [
        *_EDIT,
        _rule(["create"], AUTHORIZATION, "localsubjectaccessreviews"),
        _rule([*_WRITE, *_READ], RBAC, "rolebindings", "roles"),
    ],
    "edit": _EDIT,
    "view": _VIEW,
    "system:auth-delegator": [
        _rule(["create"], AUTHENTICATION, "tokenreviews"),
        _rule(["create"], AUTHORIZATION, "subjectaccessreviews"),
    ],
    "system:service-account-issuer-discovery": [
        _paths("/.well-known/openid-configuration", "/.well-known/openid-configuration/",
               "/openid/v1/jwks", "/openid/v1/jwks/"),
    ],
    "system:discovery": [
        _paths("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi",
               "/openapi/*", "/readyz", "/version", "/version/"),
    ],
    "system:basic-user": [
        _rule(["create"], AUTHORIZATION, "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _rule(["create"], AUTHENTICATION, "selfsubjectreviews"),
    ],
    "system:public-info-viewer": [
        _paths("/healthz", "/livez", "/readyz", "/version", "/version/"),
    ],
}  # fmt: skip
_BINDINGS = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "system:discovery": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:service-account-issuer-discovery": ("system:serviceaccounts",),
}


def _object(kind: str, name: str, **fields: Any) -> Object:
    metadata = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    return {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": metadata, **fields}


def cluster_roles() -> list[Object]:
    """The ClusterRoles."""
    return [_object("ClusterRole", name, rules=rules) for name, rules in _ROLES.items()]


def cluster_role_bindings() -> list[Object]:
    """The ClusterRoleBindings."""
    return [
        _object(
            "ClusterRoleBinding",
            name,
            subjects=[{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups],
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        )
        for name, groups in _BINDINGS.items()
    ]
