"""What a cluster has from the start, and what its controllers do, done with each change.

The ClusterRoles and bindings are Kubernetes' own, as far as they concern kinds that exist here.

token-controller: token Secrets are filled, and deleted with their ServiceAccount.
serviceaccount and root-ca-certificate-publisher: each namespace has a ServiceAccount `default`
and a ConfigMap kube-root-ca.crt. namespace-controller: a namespace is deleted with its objects.
"""

from __future__ import annotations

import base64
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.kube.resources import ACCOUNT_ANNOTATION, ACCOUNT_UID_ANNOTATION, TOKEN_TYPE
from daypass.local.apiserver.kinds import (
    AUTHENTICATION,
    AUTHORIZATION,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    RBAC,
    SECRET,
    SERVICE_ACCOUNT,
    STORED,
)
from daypass.local.apiserver.rbac import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from daypass.local.apiserver.schema import with_defaults
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.store import StoreEvent

ROOT_CA = "kube-root-ca.crt"


def start(state: ServerState) -> None:
    """Create what every cluster has from the start, unless it exists."""
    for kind, objects in (
        (CLUSTER_ROLE, [_bootstrap("ClusterRole", name, rules=_ROLES[name]) for name in _ROLES]),
        (CLUSTER_ROLE_BINDING, [_cluster_role_binding(*each) for each in _BINDINGS.items()]),
        (NAMESPACE, [_new("Namespace", name) for name in _DEFAULT_NAMESPACES]),
    ):
        for obj in objects:
            if state.store.get(kind, "", obj["metadata"]["name"]) is None:
                state.store.put(kind, state.with_identity(with_defaults(kind, obj)))
    for namespace in state.store.find_all(NAMESPACE):
        _ensure_defaults(state, namespace["metadata"]["name"])
    for secret in state.store.find_all(SECRET):
        if secret["type"] == TOKEN_TYPE:
            _reconcile_token_secret(state, secret)


def reconcile(state: ServerState, event: StoreEvent) -> None:
    """React to an event, which may cause others."""
    obj, kind, store = event.object, event.kind, state.store
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
    is_deleted = event.type == "DELETED"
    if kind is NAMESPACE and is_deleted:
        for inner in STORED:
            for left in store.find_all(inner, name) if inner.namespaced else ():
                store.remove(inner, left)
    elif kind is NAMESPACE:
        _ensure_defaults(state, name)
    elif kind is SECRET and not is_deleted and obj["type"] == TOKEN_TYPE:
        if (live := store.get(SECRET, namespace, name)) is not None:
            _reconcile_token_secret(state, live)
    elif kind is SERVICE_ACCOUNT:
        for secret in store.find_all(SECRET, namespace):
            if secret["type"] == TOKEN_TYPE and _account_of(secret) == name:
                _reconcile_token_secret(state, secret)
    if kind in (CONFIG_MAP, SERVICE_ACCOUNT) and store.get(NAMESPACE, "", namespace) is not None:
        _ensure_defaults(state, namespace)


def _ensure_defaults(state: ServerState, namespace: str) -> None:
    store = state.store
    if store.get(SERVICE_ACCOUNT, namespace, "default") is None:
        account = _new("ServiceAccount", "default", namespace)
        store.put(SERVICE_ACCOUNT, state.with_identity(account))
    data = {"ca.crt": state.certificate_authority}
    live = store.get(CONFIG_MAP, namespace, ROOT_CA)
    if live is None:
        live = state.with_identity(_new("ConfigMap", ROOT_CA, namespace))
    if live.get("data") != data:
        store.put(CONFIG_MAP, {**live, "data": data})


def _new(kind: str, name: str, namespace: str = "") -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"kind": kind, "apiVersion": "v1", "metadata": {"name": name, **place}}


def _account_of(secret: Object) -> str:
    return str(secret["metadata"].get("annotations", {}).get(ACCOUNT_ANNOTATION, ""))


def _reconcile_token_secret(state: ServerState, secret: Object) -> None:
    """Fill a token Secret; delete it if its ServiceAccount is missing or another one."""
    metadata, store = secret["metadata"], state.store
    account = store.get(SERVICE_ACCOUNT, metadata["namespace"], _account_of(secret))
    uid = metadata["annotations"].get(ACCOUNT_UID_ANNOTATION)
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
    annotations = {**metadata["annotations"], ACCOUNT_UID_ANNOTATION: account["metadata"]["uid"]}
    filled = {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}
    if filled != secret:
        store.put(SECRET, filled)


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


def _bootstrap(kind: str, name: str, **fields: Any) -> Object:
    metadata = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    return {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": metadata, **fields}


def _cluster_role_binding(name: str, groups: tuple[str, ...]) -> Object:
    subjects = [{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups]
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    return _bootstrap("ClusterRoleBinding", name, subjects=subjects, roleRef=role)
