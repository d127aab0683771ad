"""A control plane of its own for the policy, whose objects have one name a cluster, and questions.

What is asked here names a bound object that cannot be good, so that no token is made and thousands
of questions are cheap: the API server looks at it after the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daypass._core.kubernetes import labels
from daypass.config.settings import Policy
from daypass.identity.enforcement import wait_until_enforced
from daypass.kube.cluster import Cluster, Waiter
from daypass.kube.errors import ApiError
from daypass.kube.resources import (
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from daypass.render.policy import Requester, TokenRequestAttributes, policy_objects
from support import identities
from support.clusters import admin_cluster
from support.controlplane import ControlPlane

NO_UID = "00000000-0000-0000-0000-000000000000"


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


def is_as_written(cluster: Cluster, policy: Policy) -> bool:
    """Whether the policy and its binding are there with these fields."""
    found = [
        cluster.find(resource, labels.POLICY_NAME)
        for resource in (VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS)
    ]
    wanted = policy_objects(policy)
    return all(a and a["spec"] == b["spec"] for a, b in zip(found, wanted, strict=True))


def impersonation_headers(requester: Requester) -> dict[str, str]:
    headers = {"Impersonate-User": requester.user}
    for group in requester.groups:
        headers["Impersonate-Group"] = group
    if requester.has_credential_id:
        key = labels.CREDENTIAL_ID.replace("/", "%2f")
        headers[f"Impersonate-Extra-{key}"] = "JTI=0"
    return headers


def broken_rule(cluster: Cluster, namespace: str, request: TokenRequestAttributes) -> str | None:
    """The first rule that the API server finds broken, or None where it finds none."""
    bound = request.bound
    reference = (
        {"apiVersion": bound.api_version, "kind": bound.kind, "name": bound.name, "uid": NO_UID}
        if bound
        else {}
    )
    spec = {
        "audiences": list(request.audiences),
        "expirationSeconds": request.lifetime_seconds,
        "boundObjectRef": reference,
    }
    path = identities.token_path(namespace, request.service_account)
    headers = impersonation_headers(request.requester)
    try:
        cluster.request("POST", path, {"spec": spec}, what="ask", headers=headers)
    except ApiError as error:
        return _rule(error)
    raise AssertionError("a token was made")


PASSED = {
    400: "cannot bind token to object of type",
    404: "not found",
    409: "does not match the UID",
}


def _rule(error: ApiError) -> str | None:
    code, message = error.status.code, error.status.message
    if "ValidatingAdmissionPolicy 'daypass'" in message:
        assert (code, error.status.reason) == (403, "Forbidden"), message
        return message.split("denied request: ")[1].split(":")[0]
    assert PASSED.get(code, "\0") in message, (code, message)
    assert "serviceaccounts" not in message, message
    return None
