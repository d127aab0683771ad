"""What Kubernetes' controllers do about tokens, done with each change.

token-controller: token Secrets are filled, and deleted with their ServiceAccount.
serviceaccount and root-ca-certificate-publisher: each namespace has a ServiceAccount `default`
and a ConfigMap kube-root-ca.crt. namespace-controller: a namespace is deleted with its objects.
"""

from __future__ import annotations

import base64
from collections import deque

from daypass.local.apiserver import rbac
from daypass.local.apiserver.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    STORED,
)
from daypass.local.apiserver.requests import ServerContext
from daypass.local.apiserver.store import Object, StoreEvent
from daypass.local.apiserver.validation import ACCOUNT_ANNOTATION, TOKEN_TYPE, with_defaults

UID_ANNOTATION = "kubernetes.io/service-account.uid"
ROOT_CA = "kube-root-ca.crt"


def start(context: ServerContext) -> None:
    """Create what every cluster has from the start, unless it exists."""
    for kind, objects in (
        (CLUSTER_ROLE, rbac.cluster_roles()),
        (CLUSTER_ROLE_BINDING, rbac.cluster_role_bindings()),
        (NAMESPACE, [_new("Namespace", name) for name in rbac.DEFAULT_NAMESPACES]),
    ):
        for obj in objects:
            if context.store.get(kind, "", obj["metadata"]["name"]) is None:
                context.store.put(kind, context.with_identity(with_defaults(kind, obj)))
    for namespace in context.store.find_all(NAMESPACE):
        _furnish(context, namespace["metadata"]["name"])
    for secret in context.store.find_all(SECRET):
        if secret["type"] == TOKEN_TYPE:
            _reconcile_token_secret(context, secret)


def reconcile(context: ServerContext, pending: deque[StoreEvent]) -> None:
    """React to events, and to the events that this causes."""
    while pending:
        _reconcile(context, pending.popleft())


def _reconcile(context: ServerContext, event: StoreEvent) -> None:
    obj, kind, store = event.object, event.kind, context.store
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
    is_deleted = event.type == "DELETED"
    if kind is NAMESPACE and is_deleted:
        for inner in STORED:
            for left in store.find_all(inner, name) if inner.namespaced else ():
                store.remove(inner, left)
    elif kind is NAMESPACE:
        _furnish(context, name)
    elif kind is SECRET and not is_deleted and obj["type"] == TOKEN_TYPE:
        if (live := store.get(SECRET, namespace, name)) is not None:
            _reconcile_token_secret(context, live)
    elif kind is SERVICE_ACCOUNT:
        for secret in store.find_all(SECRET, namespace):
            if secret["type"] == TOKEN_TYPE and _account_of(secret) == name:
                _reconcile_token_secret(context, secret)
    if kind in (CONFIG_MAP, SERVICE_ACCOUNT) and store.get(NAMESPACE, "", namespace) is not None:
        _furnish(context, namespace)


def _furnish(context: ServerContext, namespace: str) -> None:
    store = context.store
    if store.get(SERVICE_ACCOUNT, namespace, "default") is None:
        account = _new("ServiceAccount", "default", namespace)
        store.put(SERVICE_ACCOUNT, context.with_identity(account))
    data = {"ca.crt": context.settings.certificate_authority}
    live = store.get(CONFIG_MAP, namespace, ROOT_CA)
    if live is None:
        live = context.with_identity(_new("ConfigMap", ROOT_CA, namespace))
    if live.get("data") != data:
        store.put(CONFIG_MAP, {**live, "data": data})


def _new(kind: str, name: str, namespace: str = "") -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"kind": kind, "apiVersion": "v1", "metadata": {"name": name, **place}}


def _account_of(secret: Object) -> str:
    return str(secret["metadata"].get("annotations", {}).get(ACCOUNT_ANNOTATION, ""))


def _reconcile_token_secret(context: ServerContext, secret: Object) -> None:
    """Fill a token Secret; delete it if its ServiceAccount is missing or another one."""
    metadata, store = secret["metadata"], context.store
    account = store.get(SERVICE_ACCOUNT, metadata["namespace"], _account_of(secret))
    uid = metadata["annotations"].get(UID_ANNOTATION)
    if account is None or (uid is not None and uid != account["metadata"]["uid"]):
        store.remove(SECRET, secret)
        return
    data = {
        **secret.get("data", {}),
        "ca.crt": _encoded(context.settings.certificate_authority),
        "namespace": _encoded(metadata["namespace"]),
    }
    if not data.get("token"):
        data["token"] = _encoded(context.issuer.issue_legacy(account, secret))
    annotations = {**metadata["annotations"], UID_ANNOTATION: account["metadata"]["uid"]}
    filled = {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}
    if filled != secret:
        store.put(SECRET, filled)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
