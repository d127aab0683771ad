"""A control plane of its own for the policy, whose objects have one name a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daypass._core.kubernetes import labels
from daypass.config.settings import Policy
from daypass.identity.enforcement import wait_until_enforced
from daypass.kube.cluster import Cluster, Waiter
from daypass.render.policy import Requester, policy_objects
from support import identities
from support.clusters import admin_cluster
from support.controlplane import ControlPlane


def policy_namespace(
    plane: ControlPlane,
    annotations: Mapping[str, str] | None = None,
    *,
    held: bool = True,
    accounts: Sequence[str] = ("bot",),
) -> str:
    """A namespace under the policy, with ServiceAccounts; in it everybody may ask for tokens."""
    name = identities.unique("team")
    policy = {labels.POLICY: labels.POLICY_ENFORCED} if held else {}
    metadata = {"name": name, "labels": policy, "annotations": dict(annotations or {})}
    plane.admin.create("/api/v1/namespaces", {"metadata": metadata})
    for account in accounts:
        identities.ensure_service_account(plane.admin, name, account)
    return name


def prepare(plane: ControlPlane, policy: Policy) -> None:
    """Put the policy in force where everybody may ask for tokens, as far as RBAC goes."""
    _allow_all_token_requests(plane)
    with admin_cluster(plane) as cluster:
        apply(plane, cluster, policy)


def _allow_all_token_requests(plane: ControlPlane) -> None:
    """RBAC that leaves all to the policy, in all namespaces."""
    rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
    metadata = {"metadata": {"name": "everybody-asks"}}
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"apiGroup": group["apiGroup"], "kind": "ClusterRole", "name": "everybody-asks"}
    plane.admin.create(f"{identities.RBAC}/clusterroles", {**metadata, "rules": [rule]})
    plane.admin.create(
        f"{identities.RBAC}/clusterrolebindings",
        {**metadata, "roleRef": reference, "subjects": [{**group, "name": "system:authenticated"}]},
    )
    attributes = {
        "verb": "create", "resource": "serviceaccounts", "subresource": "token",
        "namespace": "default", "name": "default",
    }  # fmt: skip
    identities.wait_until_allowed(plane.admin, "x", attributes, groups=["system:authenticated"])


def put(cluster: Cluster, policy: Policy) -> None:
    """Apply the policy's objects."""
    for document in policy_objects(policy):
        cluster.apply(document, force=True)


def apply(plane: ControlPlane, cluster: Cluster, policy: Policy) -> None:
    """The policy in force, seen by a request in a namespace that it holds."""
    policy_namespace(plane, accounts=["default"])
    put(cluster, policy)
    wait_until_enforced(Waiter(cluster, 60), policy)


def impersonation_headers(requester: Requester) -> dict[str, str]:
    headers = {"Impersonate-User": requester.user}
    for group in requester.groups:
        headers["Impersonate-Group"] = group
    if requester.has_credential_id:
        key = labels.CREDENTIAL_ID.replace("/", "%2f")
        headers[f"Impersonate-Extra-{key}"] = "JTI=0"
    return headers
