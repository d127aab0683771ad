"""What an identity may do in a namespace, as the two objects that say it.

A RoleBinding lets the APIs (Kubernetes', and Kubeflow's, which ask Kubernetes) take the identity's
requests; an AuthorizationPolicy lets the mesh bring them to the workloads of the namespace. They
are made, named, annotated and shaped as Kubeflow's own access management does it, so that its UI
lists them and can take them away (github.com/kubeflow/dashboard,
components/access-management/kfam/bindings.go: `getBindingName`, `getAuthorizationPolicy`, `List`).
Two things differ. The subject is the ServiceAccount, not a user of that name. And the header is
believed from the ingress gateway alone: who else may name a principal is for the admin to say.

Which rights lead further than they look: to tokens, to Secrets, to being somebody else.

Only what counts in a RoleBinding is looked at, so nothing of the cluster's scope.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daypass._core import labels
from daypass.identity.model import LABELS, IdentityName
from daypass.kube.resources import AUTHORIZATION_POLICIES, ROLE_BINDINGS, Object, name_of

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
    return (metadata.get("labels") or {}).get(labels.MANAGED_BY) == labels.MANAGER and (
        metadata.get("annotations") or {}
    ).get(labels.IDENTITY) == identity.key


def _object(api_version: str, kind: str, grant: Grant, name: str) -> Object:
    annotations = {labels.IDENTITY: grant.identity.key}
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


_RBAC = "rbac.authorization.k8s.io"
_WORKLOADS = (
    ("", "pods"), ("", "replicationcontrollers"), ("apps", "deployments"), ("apps", "replicasets"),
    ("apps", "statefulsets"), ("apps", "daemonsets"), ("batch", "jobs"), ("batch", "cronjobs"),
)  # fmt: skip
_CHANGE = ("create", "update", "patch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """Any of `verbs` on any of `resources` (group and plural) leads to what `reason` says."""

    reason: str
    verbs: tuple[str, ...]
    resources: tuple[tuple[str, str], ...]


RISKS = (
    Risk(
        reason="mints tokens of other ServiceAccounts",
        verbs=("create",), resources=(("", "serviceaccounts/token"),),
    ),
    Risk(
        reason="reads Secrets, and the long-lived tokens in them",
        # The answers to a patch and to a deletion of many hold the whole objects.
        verbs=("get", "list", "watch", "patch", "deletecollection"), resources=(("", "secrets"),),
    ),
    Risk(
        reason="makes Secrets, and with them long-lived tokens of other ServiceAccounts",
        verbs=("create",), resources=(("", "secrets"),),
    ),
    Risk(
        reason="acts as other ServiceAccounts (impersonate)",
        verbs=("impersonate", "impersonate:serviceaccount"),
        resources=(("", "serviceaccounts"), ("authentication.k8s.io", "serviceaccounts")),
    ),
    Risk(
        reason="runs commands in Pods, as their ServiceAccounts",
        verbs=("create", "get"),
        resources=(("", "pods/exec"), ("", "pods/attach")),
    ),
    Risk(
        reason="runs Pods as any ServiceAccount of the namespace",
        verbs=_CHANGE, resources=(*_WORKLOADS, ("", "pods/ephemeralcontainers")),
    ),
    Risk(
        reason="gives itself and others rights that it has not (escalate, bind)",
        verbs=("escalate", "bind"),
        resources=((_RBAC, "roles"), (_RBAC, "clusterroles")),
    ),
    Risk(
        reason="hands its rights on to others",
        verbs=_CHANGE, resources=((_RBAC, "rolebindings"),),
    ),
)  # fmt: skip


def reasons(rules: Iterable[Object]) -> tuple[str, ...]:
    """Why these rules of a Role or ClusterRole are more than they look; empty where they are not.

    A rule for named objects counts as well: which objects those are is nothing to rely on.
    """
    rules = list(rules)
    return tuple(risk.reason for risk in RISKS if any(_allows(rule, risk) for rule in rules))


def rules_of(cluster_role: Object, others: Sequence[Object]) -> list[Object]:
    """All rules of a ClusterRole, those too that aggregation will yet put in from `others`."""
    found: dict[str, Object] = {}
    left = [cluster_role]
    while left:
        role = left.pop()
        if name_of(role) in found:
            continue
        found[name_of(role)] = role
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            left += [other for other in others if _selects(selector, other)]
    return [rule for role in found.values() for rule in role.get("rules") or ()]


def _allows(rule: Object, risk: Risk) -> bool:
    verbs, groups = rule.get("verbs") or (), rule.get("apiGroups") or ()
    resources = rule.get("resources") or ()
    return ("*" in verbs or any(verb in verbs for verb in risk.verbs)) and any(
        ("*" in groups or group in groups) and _matches(resources, resource)
        for group, resource in risk.resources
    )


def _matches(resources: Sequence[str], resource: str) -> bool:
    """As RBAC: by `*`, by name, or by `*/subresource` (k8s.io/kubernetes/pkg/apis/rbac/v1)."""
    _, slash, subresource = resource.partition("/")
    forms = ("*", resource, f"*/{subresource}") if slash else ("*", resource)
    return any(form in resources for form in forms)


def _selects(selector: Object, role: Object) -> bool:
    """Whether a label selector matches (k8s.io/apimachinery/pkg/labels)."""
    labels = role["metadata"].get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        value, values = labels.get(expression["key"]), expression.get("values") or ()
        fits = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(expression["operator"], True):
            return False
    return True
