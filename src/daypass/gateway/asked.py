"""What a cluster tells about a token without being shown it: its keys, and what was revoked."""

from __future__ import annotations

import json

from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.gateway.orders import orders_in
from daypass.gateway.record import ClusterRecord
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, uid_of
from daypass.render.names import GATE_DENIED


def keys_of(cluster: Cluster) -> str:
    """The API server's JSON Web Key Set. Raises the errors of `daypass.kube.errors`."""
    accept = {"Accept": "application/jwk-set+json"}  # it gives them as nothing else
    path, what = "/openid/v1/jwks", "read the signing keys"
    return json.dumps(cluster.request("GET", path, what=what, headers=accept))


def issuer_of(cluster: Cluster) -> str:
    """The `iss` of its short-lived tokens; raises as `keys_of`."""
    path = "/.well-known/openid-configuration"
    return str(cluster.request("GET", path, what="read who issues tokens").get("issuer", ""))


def followed_in(cluster: Cluster, namespace: str) -> frozenset[str] | None:
    """The namespaces that the watch of a gate follows; None where it publishes nothing.

    `namespace`: where it keeps its record. Raises RecordError, and as `keys_of`.
    """
    followed = ClusterRecord(cluster, namespace).read().published.get("followed")
    return None if followed is None else frozenset(map(str, followed))


def denied_in(cluster: Cluster, namespace: str, token: str, now_unix: float) -> frozenset[str]:
    """UIDs that the token names and the cluster has no more, and all that was denied by hand.

    `namespace`: where the ConfigMap of denials is. Raises as `keys_of`.
    """
    found = cluster.find(CONFIG_MAPS, GATE_DENIED, namespace)
    orders = () if found is None else tuple(orders_in(found))
    denied = {order.name for order in orders if order.until_unix > now_unix}
    try:
        bound = decode_unverified(token)[1].get("kubernetes.io")
    except MalformedTokenError:
        return frozenset(denied)
    if not isinstance(bound, dict):
        return frozenset(denied)
    for key, resource in (("secret", SECRETS), ("serviceaccount", SERVICE_ACCOUNTS)):
        reference = bound.get(key)
        if isinstance(reference, dict) and isinstance(uid := reference.get("uid"), str):
            names = str(reference.get("name")), str(bound.get("namespace"))
            there = cluster.find(resource, *names)
            if there is None or uid_of(there) != uid or "deletionTimestamp" in there["metadata"]:
                denied.add(uid)
    return frozenset(denied)
