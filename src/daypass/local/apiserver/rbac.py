"""Role-based access control, evaluated as the API server does it.

Pure: what the store holds decides (k8s.io/kubernetes/pkg/registry/rbac/validation).

The namespaces, ClusterRoles and bindings that are there from the start.

The rules are Kubernetes' own (kubectl get clusterroles, v1.37), as far as they speak of kinds that
the embedded API server has. `admin`, `edit` and `view` are whole: nothing aggregates here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from daypass.local.apiserver.errors import quote
from daypass.local.apiserver.kinds import (
    AUTHENTICATION,
    AUTHORIZATION,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    RBAC,
    ROLE,
    ROLE_BINDING,
)
from daypass.local.apiserver.store import Object, Store
from daypass.local.apiserver.users import (
    AUTHENTICATED,
    MASTERS,
    UNAUTHENTICATED,
    User,
    service_account_name,
)

Rule = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What somebody is about to do. `path` is of a request that is for no resource."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource: bool = True

    @property
    def whole_resource(self) -> str:
        """The resource as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDecision:
    """Whether it may be done, and why."""

    allowed: bool
    reason: str = ""


def authorize(store: Store, asked: Attributes) -> AccessDecision:
    """Whether what is asked is allowed by anything."""
    if MASTERS in asked.user.groups:
        return AccessDecision(allowed=True)
    faults: list[str] = []
    for rule, reason in _rules(store, asked.user, asked.namespace, faults):
        if _allows(rule, asked):
            return AccessDecision(allowed=True, reason=f"RBAC: allowed by {reason}")
    if not faults:
        return AccessDecision(allowed=False)
    listed = faults[0] if len(set(faults)) == 1 else f"[{', '.join(dict.fromkeys(faults))}]"
    return AccessDecision(allowed=False, reason=f"RBAC: {listed}")


def rules_of(store: Store, user: User, namespace: str) -> list[Rule]:
    """Every rule that holds for a user in a namespace (cluster-wide where it is empty)."""
    return [rule for rule, _ in _rules(store, user, namespace, [])]


def role_rules(store: Store, reference: dict[str, str], namespace: str) -> list[Rule] | None:
    """The rules of the role that a binding refers to, or None where there is no such role."""
    kind = CLUSTER_ROLE if reference.get("kind") == "ClusterRole" else ROLE
    place = "" if kind is CLUSTER_ROLE else namespace
    role = store.get(kind, place, reference.get("name", ""))
    return None if role is None else role.get("rules") or []


def _rules(
    store: Store, user: User, namespace: str, faults: list[str]
) -> Iterator[tuple[Rule, str]]:
    bindings = store.every(CLUSTER_ROLE_BINDING)
    if namespace:
        bindings = [*bindings, *store.every(ROLE_BINDING, namespace)]
    for binding in bindings:
        place = binding["metadata"].get("namespace", "")
        subject = next((one for one in binding.get("subjects", []) if _is(one, user, place)), None)
        if subject is None:
            continue
        reference = binding["roleRef"]
        rules = role_rules(store, reference, place)
        if rules is None:
            kind = reference["kind"].lower()
            faults.append(f"{kind}.{RBAC} {quote(reference['name'])} not found")
            continue
        reason = _reason(binding, subject)
        for rule in rules:
            yield rule, reason


def _is(subject: dict[str, str], user: User, place: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "Group":
        return name in user.groups
    if kind == "User":
        return name == user.name
    namespace = subject.get("namespace") or place
    return bool(namespace) and user.name == service_account_name(namespace, name)


def _reason(binding: Object, subject: dict[str, str]) -> str:
    metadata, role = binding["metadata"], binding["roleRef"]
    place = metadata.get("namespace")
    name = f"{metadata['name']}/{place}" if place else metadata["name"]
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or place}"
    return (
        f"{binding['kind']} {quote(name)} of {role['kind']} {quote(role['name'])} "
        f"to {subject['kind']} {quote(who)}"
    )


def _allows(rule: Rule, asked: Attributes) -> bool:
    if not _has(rule, "verbs", asked.verb):
        return False
    if not asked.is_resource:
        return any(_path_matches(url, asked.path) for url in rule.get("nonResourceURLs", ()))
    names = rule.get("resourceNames")
    return (
        _has(rule, "apiGroups", asked.group)
        and _resource_matches(rule.get("resources", ()), asked)
        and (not names or asked.name in names)
    )


def _has(rule: Rule, key: str, value: str) -> bool:
    listed = rule.get(key, ())
    return "*" in listed or value in listed


def _resource_matches(resources: Iterable[str], asked: Attributes) -> bool:
    return any(
        one in ("*", asked.whole_resource)
        or (asked.subresource and one == f"*/{asked.subresource}")
        for one in resources
    )


def _path_matches(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*")))


def missing(owned: list[Rule], wanted: list[Rule]) -> list[Rule]:
    """Those single permissions of `wanted` that `owned` does not cover."""
    return [
        single for rule in wanted for single in _singles(rule)
        if not any(_covers(own, single) for own in owned)
    ]  # fmt: skip


def _singles(rule: Rule) -> Iterator[Rule]:
    for verb in rule.get("verbs", []):
        for url in rule.get("nonResourceURLs") or []:
            yield {"verbs": [verb], "nonResourceURLs": [url]}
        for group in rule.get("apiGroups") or []:
            for resource in rule.get("resources") or []:
                single = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                for name in rule.get("resourceNames") or []:
                    yield {**single, "resourceNames": [name]}
                if not rule.get("resourceNames"):
                    yield single


def _covers(own: Rule, single: Rule) -> bool:
    if not _has(own, "verbs", single["verbs"][0]):
        return False
    if urls := single.get("nonResourceURLs"):
        return any(_path_matches(url, urls[0]) for url in own.get("nonResourceURLs", ()))
    resource, _, subresource = single["resources"][0].partition("/")
    asked: Any = Attributes(user=User(name=""), verb="", resource=resource, subresource=subresource)
    names = own.get("resourceNames")
    return (
        _has(own, "apiGroups", single["apiGroups"][0])
        and _resource_matches(own.get("resources", ()), asked)
        and (not names or set(single.get("resourceNames", ("",))) <= set(names))
    )


NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]


def _rule(verbs: list[str], group: str, *resources: str) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


def _paths(*paths: str) -> dict[str, Any]:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_VIEW = [
    _rule(_READ, "", "configmaps", "pods", "serviceaccounts", "namespaces", "pods/status",
          "namespaces/status"),
]  # fmt: skip
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


def _object(kind: str, name: str, **fields: Any) -> Object:
    metadata = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    return {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": metadata, **fields}


def cluster_roles() -> list[Object]:
    """The ClusterRoles."""
    return [_object("ClusterRole", name, rules=rules) for name, rules in _ROLES.items()]


def cluster_role_bindings() -> list[Object]:
    """The ClusterRoleBindings."""
    return [
        _object(
            "ClusterRoleBinding",
            name,
            subjects=[{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups],
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        )
        for name, groups in _BINDINGS.items()
    ]
