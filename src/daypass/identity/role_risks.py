"""Which rights give access to more than they seem to: to tokens, Secrets or other accounts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import RBAC_GROUP

_WORKLOADS = (
    ("", "pods"), ("", "replicationcontrollers"), ("apps", "deployments"), ("apps", "replicasets"),
    ("apps", "statefulsets"), ("apps", "daemonsets"), ("batch", "jobs"), ("batch", "cronjobs"),
)  # fmt: skip
CHANGE = ("create", "update", "patch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A rule with any of `verbs` on any of `resources` (group and plural) is a risk.

    `reason` completes the sentence "it ...".
    """

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
        # The responses to patch and deletecollection contain the whole objects.
        verbs=("get", "list", "watch", "patch", "deletecollection"), resources=(("", "secrets"),),
    ),
    Risk(
        reason="creates Secrets, and with them long-lived tokens of other ServiceAccounts",
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
        verbs=CHANGE, resources=(*_WORKLOADS, ("", "pods/ephemeralcontainers")),
    ),
    Risk(
        reason="gives itself and others rights that it does not have (escalate, bind)",
        verbs=("escalate", "bind"),
        resources=((RBAC_GROUP, "roles"), (RBAC_GROUP, "clusterroles")),
    ),
    Risk(
        reason="gives its rights to others",
        verbs=CHANGE, resources=((RBAC_GROUP, "rolebindings"),),
    ),
)  # fmt: skip


def find_risks(rules: Iterable[Object]) -> tuple[str, ...]:
    """Return the reasons of all risks in the rules of a Role or ClusterRole.

    A rule with `resourceNames` is a risk, too: which objects have these names may change.
    """
    rules = list(rules)
    return tuple(
        risk.reason
        for risk in RISKS
        if any(allows(rule, risk.verbs, risk.resources) for rule in rules)
    )


def rules_of(cluster_role: Object, cluster_roles: Sequence[Object]) -> list[Object]:
    """Return all rules of a ClusterRole, with those that it will aggregate from `cluster_roles`."""
    found: dict[str, Object] = {}
    pending = [cluster_role]
    while pending:
        role = pending.pop()
        if name_of(role) in found:
            continue
        found[name_of(role)] = role
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            pending += [other for other in cluster_roles if selects(selector, other)]
    return [rule for role in found.values() for rule in role.get("rules") or ()]


def allows(rule: Object, verbs: Sequence[str], resources: Sequence[tuple[str, str]]) -> bool:
    """Return whether a rule allows any of these verbs on any of these resources (group, plural)."""
    allowed, groups = rule.get("verbs") or (), rule.get("apiGroups") or ()
    named = rule.get("resources") or ()
    return ("*" in allowed or any(verb in allowed for verb in verbs)) and any(
        ("*" in groups or group in groups) and _matches(named, resource)
        for group, resource in resources
    )


def _matches(resources: Sequence[str], resource: str) -> bool:
    """Match `*`, the name or `*/subresource`, as RBAC (k8s.io/kubernetes/pkg/apis/rbac/v1)."""
    _, slash, subresource = resource.partition("/")
    forms = ("*", resource, f"*/{subresource}") if slash else ("*", resource)
    return any(form in resources for form in forms)


def selects(selector: Object, role: Object) -> bool:
    """Return whether a label selector matches (k8s.io/apimachinery/pkg/labels)."""
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
