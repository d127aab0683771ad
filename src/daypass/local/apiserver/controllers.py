"""What a cluster has from the start, and what its controllers do, done with each change.

The ClusterRoles and bindings are Kubernetes' own, as far as they concern kinds that exist here.

token-controller: token Secrets are filled, and deleted with their ServiceAccount.
serviceaccount-controller: each namespace has a ServiceAccount `default`.
namespace-controller: a namespace is deleted with its objects.
"""

from __future__ import annotations

import base64
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import RBAC_GROUP
from daypass.kube.resources import ACCOUNT_ANNOTATION, ACCOUNT_UID_ANNOTATION, TOKEN_TYPE
from daypass.local.apiserver.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    STORED,
    Kind,
)
from daypass.local.apiserver.rbac import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.store import StoreEvent


def start(state: ServerState) -> None:
    """Create what every cluster has from the start, unless it exists."""
    for name, rules in _ROLES.items():
        _ensure(state, CLUSTER_ROLE, name, rules=rules)
    for name, groups in _BINDINGS.items():
        subjects = [{"kind": "Group", "apiGroup": RBAC_GROUP, "name": group} for group in groups]
        role = {"apiGroup": RBAC_GROUP, "kind": CLUSTER_ROLE.kind, "name": name}
        _ensure(state, CLUSTER_ROLE_BINDING, name, subjects=subjects, roleRef=role)
    for name in _DEFAULT_NAMESPACES:
        _ensure(state, NAMESPACE, name)


def reconcile(state: ServerState, event: StoreEvent) -> None:
    """React to an event, which may cause others."""
    obj, kind, store = event.object, event.kind, state.store
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
    if kind is NAMESPACE and event.type == "DELETED":
        for inner in STORED:
            for left in store.find_all(inner, name) if inner.is_namespaced else ():
                store.remove(inner, left)
    elif kind is NAMESPACE:
        _ensure(state, SERVICE_ACCOUNT, "default", name)
    elif kind is SECRET:
        if (live := store.get(SECRET, namespace, name)) is not None:
            _reconcile_secret(state, live)
    elif kind is SERVICE_ACCOUNT:
        for secret in store.find_all(SECRET, namespace):
            _reconcile_secret(state, secret)


def _ensure(state: ServerState, kind: Kind, name: str, namespace: str = "", **fields: Any) -> None:
    if state.store.get(kind, namespace, name) is not None:
        return
    metadata: Object = {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}
    if kind.group != RBAC_GROUP:
        metadata["labels"] = {"kubernetes.io/metadata.name": name} if kind is NAMESPACE else {}
    if namespace:
        metadata["namespace"] = namespace
    obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata, **fields}
    state.store.put(kind, state.with_identity(obj))


def _reconcile_secret(state: ServerState, secret: Object) -> None:
    """Fill a token Secret; delete it if its ServiceAccount is missing or another one."""
    if secret["type"] != TOKEN_TYPE:
        return
    metadata, store = secret["metadata"], state.store
    annotations = metadata.get("annotations", {})
    account = store.get(
        SERVICE_ACCOUNT, metadata["namespace"], annotations.get(ACCOUNT_ANNOTATION, "")
    )
    uid = annotations.get(ACCOUNT_UID_ANNOTATION)
    if account is None or (uid is not None and uid != account["metadata"]["uid"]):
        store.remove(SECRET, secret)
        return
    data = {
        **secret.get("data", {}),
        "ca.crt": _encoded(state.certificate_authority),
        "namespace": _encoded(metadata["namespace"]),
    }
    if not data.get("token"):
        data["token"] = _encoded(state.issuer.issue_legacy(account, secret))
    annotations = {**annotations, ACCOUNT_UID_ANNOTATION: account["metadata"]["uid"]}
    store.put(
        SECRET, {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_DEFAULT_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]


def _rule(verbs: list[str], group: str, *resources: str) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


def _paths(*paths: str) -> dict[str, Any]:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_VIEW = [_rule(_READ, "", "configmaps", "pods", "serviceaccounts", "namespaces")]
_EDIT = [
    *_VIEW,
    _rule(_READ, "", "secrets"),
    _rule(["impersonate"], "", "serviceaccounts"),
    _rule(_WRITE, "", "pods", "configmaps", "secrets", "serviceaccounts"),
    _rule(["create"], "", "serviceaccounts/token"),
]
_ROLES: dict[str, list[dict[str, Any]]] = {
    "cluster-admin": [_rule(["*"], "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "admin": [*_EDIT, _rule([*_WRITE, *_READ], RBAC_GROUP, "rolebindings", "roles")],
    "edit": _EDIT,
    "view": _VIEW,
    "system:auth-delegator": [
        _rule(["create"], "authentication.k8s.io", "tokenreviews"),
        _rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
    ],
    "system:service-account-issuer-discovery": [
        _paths("/.well-known/openid-configuration", "/openid/v1/jwks"),
    ],
    "system:discovery": [_paths("/api/*", "/apis/*", "/readyz")],
    "system:public-info-viewer": [_paths("/readyz")],
}
_BINDINGS = {
    "cluster-admin": (MASTERS,),
    "system:discovery": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:service-account-issuer-discovery": ("system:serviceaccounts",),
}
