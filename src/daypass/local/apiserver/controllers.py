"""What Kubernetes' controllers do about tokens, done as soon as something changes.

token-controller: token Secrets are filled, and end with their ServiceAccount. serviceaccount and
root-ca-certificate-publisher: each namespace has a `default` account and a kube-root-ca.crt.
namespace-controller: what is in a namespace ends with it.
"""

from __future__ import annotations

import base64
from collections import deque

from daypass.local.apiserver import rbac
from daypass.local.apiserver.admission import ACCOUNT_ANNOTATION, TOKEN_TYPE, defaulted
from daypass.local.apiserver.cluster import ServerContext
from daypass.local.apiserver.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    STORED,
)
from daypass.local.apiserver.managed_fields import created, updated
from daypass.local.apiserver.store import Object, StoreEvent

MANAGER = "kube-controller-manager"
UID_ANNOTATION = "kubernetes.io/service-account.uid"
ROOT_CA = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


def start(cluster: ServerContext) -> None:
    """Make what every cluster has from its beginning; leave alone what is there already."""
    made = [
        (CLUSTER_ROLE, rbac.cluster_roles()),
        (CLUSTER_ROLE_BINDING, rbac.cluster_role_bindings()),
    ]
    for kind, objects in made:
        for obj in objects:
            if cluster.store.get(kind, "", obj["metadata"]["name"]) is None:
                cluster.store.put(kind, cluster.identified(obj))
    for name in rbac.NAMESPACES:
        if cluster.store.get(NAMESPACE, "", name) is None:
            obj = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
            cluster.store.put(NAMESPACE, cluster.identified(defaulted(NAMESPACE, obj)))
    for namespace in cluster.store.every(NAMESPACE):
        _furnish(cluster, namespace["metadata"]["name"])
    for secret in cluster.store.every(SECRET):
        if secret["type"] == TOKEN_TYPE:
            _look_after(cluster, secret)


def settle(cluster: ServerContext, pending: deque[StoreEvent]) -> None:
    """React to what has happened, and to what that makes happen."""
    while pending:
        _react(cluster, pending.popleft())


def _react(cluster: ServerContext, event: StoreEvent) -> None:
    obj, kind = event.object, event.kind
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
    gone = event.type == "DELETED"
    if kind is NAMESPACE and gone:
        for inner in STORED:
            for left in cluster.store.every(inner, name) if inner.namespaced else ():
                if cluster.store.get(inner, name, left["metadata"]["name"]) is not None:
                    cluster.store.remove(inner, left)
    elif kind is NAMESPACE:
        _furnish(cluster, name)
    elif kind is SECRET and not gone and obj["type"] == TOKEN_TYPE:
        if (live := cluster.store.get(SECRET, namespace, name)) is not None:
            _look_after(cluster, live)
    elif kind is SERVICE_ACCOUNT:
        for secret in cluster.store.every(SECRET, namespace):
            if secret["type"] == TOKEN_TYPE and _account_of(secret) == name:
                _look_after(cluster, secret)
    alive = cluster.store.get(NAMESPACE, "", namespace) is not None
    if alive and (kind is CONFIG_MAP or (gone and kind is SERVICE_ACCOUNT)):
        _furnish(cluster, namespace)


def _furnish(cluster: ServerContext, namespace: str) -> None:
    if cluster.store.get(SERVICE_ACCOUNT, namespace, "default") is None:
        metadata = {"name": "default", "namespace": namespace}
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata}
        cluster.store.put(SERVICE_ACCOUNT, cluster.identified(account))
    data = {"ca.crt": cluster.settings.certificate_authority}
    live = cluster.store.get(CONFIG_MAP, namespace, ROOT_CA)
    if live is None:
        config = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {
                "name": ROOT_CA,
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": _DESCRIPTION},
            },
            "data": data,
        }
        config = created(cluster.identified(config), MANAGER, cluster.now())
        cluster.store.put(CONFIG_MAP, config)
    elif live.get("data") != data:
        cluster.store.put(CONFIG_MAP, {**live, "data": data})


def _account_of(secret: Object) -> str:
    return str(secret["metadata"].get("annotations", {}).get(ACCOUNT_ANNOTATION, ""))


def _look_after(cluster: ServerContext, secret: Object) -> None:
    """Fill a token Secret; remove it if its ServiceAccount is not there, or is another one."""
    metadata = secret["metadata"]
    account = cluster.store.get(SERVICE_ACCOUNT, metadata["namespace"], _account_of(secret))
    uid = metadata["annotations"].get(UID_ANNOTATION)
    if account is None or (uid is not None and uid != account["metadata"]["uid"]):
        cluster.store.remove(SECRET, secret)
        return
    data = {
        **secret.get("data", {}),
        "ca.crt": _encoded(cluster.settings.certificate_authority),
        "namespace": _encoded(metadata["namespace"]),
    }
    if not data.get("token"):
        data["token"] = _encoded(cluster.issuer.issue_legacy(account, secret))
    annotations = {**metadata["annotations"], UID_ANNOTATION: account["metadata"]["uid"]}
    filled = {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}
    if filled != secret:
        cluster.store.put(SECRET, updated(filled, secret, MANAGER, cluster.now()))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
