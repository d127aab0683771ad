"""What an identity may do in a namespace, as the two objects that say it.

A RoleBinding lets the APIs (Kubernetes', and Kubeflow's, which ask Kubernetes) take the identity's
requests; an AuthorizationPolicy lets the mesh bring them to the workloads of the namespace. They
are made, named, annotated and shaped as Kubeflow's own access management does it, so that its UI
lists them and can take them away (github.com/kubeflow/dashboard,
components/access-management/kfam/bindings.go: `getBindingName`, `getAuthorizationPolicy`, `List`).
Two things differ. The subject is the ServiceAccount, not a user of that name. And the header is
believed from the ingress gateway alone: who else may name a principal is for the admin to say.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from daypass.identity import marks
from daypass.identity.manifests import LABELS
from daypass.identity.naming import IdentityName
from daypass.kube.resources import AUTHORIZATION_POLICIES, ROLE_BINDINGS, Object

RBAC_GROUP = "rbac.authorization.k8s.io"
INGRESS_GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
"""Who may say which user a request is of: the principal of Kubeflow's ingress gateway."""

USER_HEADER = "kubeflow-userid"
KUBEFLOW_ROLES = {"kubeflow-view": "view", "kubeflow-edit": "edit", "kubeflow-admin": "admin"}
LONGEST_NAME_CHARACTERS = 253


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Grant:
    """An identity, a namespace that it may work in, and the ClusterRole that it has there."""

    identity: IdentityName
    namespace: str
    cluster_role: str

    @property
    def role(self) -> str | None:
        """What Kubeflow calls the role: view, edit, admin, or None for another ClusterRole."""
        return KUBEFLOW_ROLES.get(self.cluster_role)

    @property
    def usual_name(self) -> str:
        """What Kubeflow would call both objects. Another identity's may be called the same."""
        kind = f"clusterrole-{self.role or self.cluster_role}"
        return re.sub("[^a-z0-9]+", "-", f"user-{user_of(self.identity)}-{kind}".lower())

    @property
    def own_name(self) -> str:
        """A name that only this very grant has."""
        key = f"{self.identity.key}\n{self.cluster_role}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return f"{self.usual_name[: LONGEST_NAME_CHARACTERS - 13]}-{digest}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it may have, the best one first."""
        if self.role is None or len(self.usual_name) > LONGEST_NAME_CHARACTERS:
            return (self.own_name,)
        return (self.usual_name, self.own_name)


def shown_role(role: str, kind: str = "ClusterRole") -> str:
    """A role as people read it: Kubeflow's by its short name, others in full."""
    short = KUBEFLOW_ROLES.get(role) if kind == "ClusterRole" else None
    return short or f"{kind.lower()}/{role}"


def user_of(identity: IdentityName) -> str:
    """What Kubernetes calls an identity, and the gate passes on."""
    return f"system:serviceaccount:{identity.namespace}:{identity.name}"


def role_binding(grant: Grant, name: str) -> Object:
    """The grant to the APIs."""
    identity = grant.identity
    subject = {"kind": "ServiceAccount", "name": identity.name, "namespace": identity.namespace}
    return {
        **_object(ROLE_BINDINGS.api_version, ROLE_BINDINGS.kind, grant, name),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": grant.cluster_role},
        "subjects": [subject],
    }


def authorization_policy(
    grant: Grant, name: str, *, principals: tuple[str, ...], header: str
) -> Object:
    """The grant to the mesh: the user that `header` names, as long as one of `principals` says so.

    Without principals any Pod in the mesh could say that it is anybody.
    """
    if not principals:
        raise ValueError("a header that anybody can set proves nobody")
    condition = {"key": f"request.headers[{header}]", "values": [user_of(grant.identity)]}
    rule = {"from": [{"source": {"principals": list(principals)}}], "when": [condition]}
    return {
        **_object(AUTHORIZATION_POLICIES.api_version, AUTHORIZATION_POLICIES.kind, grant, name),
        "spec": {"action": "ALLOW", "rules": [rule]},
    }


def is_of(document: Object, identity: IdentityName) -> bool:
    """Whether an object is marked as this identity's."""
    metadata = document["metadata"]
    return (metadata.get("labels") or {}).get(marks.MANAGED_BY) == marks.MANAGER and (
        metadata.get("annotations") or {}
    ).get(marks.IDENTITY) == identity.key


def _object(api_version: str, kind: str, grant: Grant, name: str) -> Object:
    annotations = {marks.IDENTITY: grant.identity.key}
    if grant.role is not None:  # Kubeflow's UI knows no other
        annotations |= {"user": user_of(grant.identity), "role": grant.role}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": grant.namespace,
            "labels": {**LABELS, "app.kubernetes.io/component": "grant"},
            "annotations": annotations,
        },
    }
