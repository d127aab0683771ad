"""Users, and role-based access control as kube-apiserver evaluates it.

The decision is pure: it depends on the Roles and bindings in the store alone
(k8s.io/kubernetes/pkg/registry/rbac/validation). The default ClusterRoles and bindings are
Kubernetes' own, as far as they concern kinds that the embedded API server has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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

MASTERS, AUTHENTICATED, UNAUTHENTICATED = (
    "system:masters", "system:authenticated", "system:unauthenticated",
)  # fmt: skip
_Rule = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user of a request."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the `UserInfo` of a review."""
        parts = {
            "username": self.name, "uid": self.uid, "groups": list(self.groups),
            "extra": self.extra,
        }  # fmt: skip
        return {key: value for key, value in parts.items() if value}


ANONYMOUS = User(name="system:anonymous", groups=(UNAUTHENTICATED,))
ADMIN = User(name="admin", groups=(MASTERS, AUTHENTICATED))


def service_account_name(namespace: str, name: str) -> str:
    """Return the user name, and the `sub`, of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


def service_account_user(namespace: str, name: str, uid: str, **extra: list[str]) -> User:
    """Return a ServiceAccount as a user, with its groups."""
    return User(
        name=service_account_name(namespace, name),
        uid=uid,
        groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED),
        extra=extra,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """An action to authorize. `path` is set if it is not on a resource."""

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
    def full_resource(self) -> str:
        """The resource as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDecision:
    """Whether an action is allowed, and why."""

    allowed: bool
    reason: str = ""


def authorize(store: Store, attributes: Attributes) -> AccessDecision:
    """Return whether any rule allows the action."""
    if MASTERS in attributes.user.groups:
        return AccessDecision(allowed=True)
    faults: dict[str, None] = {}
    for rule, reason in _rules(store, attributes.user, attributes.namespace, faults):
        if _allows(rule, attributes):
            return AccessDecision(allowed=True, reason=f"RBAC: allowed by {reason}")
    if not faults:
        return AccessDecision(allowed=False)
    listed = next(iter(faults)) if len(faults) == 1 else f"[{', '.join(faults)}]"
    return AccessDecision(allowed=False, reason=f"RBAC: {listed}")


def _rules(
    store: Store, user: User, namespace: str, faults: dict[str, None]
) -> Iterator[tuple[_Rule, str]]:
    bindings = store.find_all(CLUSTER_ROLE_BINDING)
    if namespace:
        bindings = [*bindings, *store.find_all(ROLE_BINDING, namespace)]
    for binding in bindings:
        place, role_ref = binding["metadata"].get("namespace", ""), binding["roleRef"]
        subjects = binding.get("subjects", [])
        subject = next((each for each in subjects if _is_subject(each, user, place)), None)
        if subject is None:
            continue
        kind = CLUSTER_ROLE if role_ref.get("kind") == "ClusterRole" else ROLE
        role = store.get(kind, "" if kind is CLUSTER_ROLE else place, role_ref.get("name", ""))
        if role is None:
            faults[f"{kind.kind.lower()}.{RBAC} {quote(role_ref['name'])} not found"] = None
            continue
        reason = _reason(binding, subject)
        for rule in role.get("rules") or []:
            yield rule, reason


def _is_subject(subject: dict[str, str], user: User, place: str) -> bool:
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


def _allows(rule: _Rule, attributes: Attributes) -> bool:
    if not _has(rule, "verbs", attributes.verb):
        return False
    if not attributes.is_resource:
        urls = rule.get("nonResourceURLs", ())
        return any(_path_matches(url, attributes.path) for url in urls)
    names = rule.get("resourceNames")
    return (
        _has(rule, "apiGroups", attributes.group)
        and _resource_matches(rule.get("resources", ()), attributes)
        and (not names or attributes.name in names)
    )


def _has(rule: _Rule, key: str, value: str) -> bool:
    listed = rule.get(key, ())
    return "*" in listed or value in listed


def _resource_matches(resources: Iterable[str], attributes: Attributes) -> bool:
    return any(
        each in ("*", attributes.full_resource)
        or (attributes.subresource and each == f"*/{attributes.subresource}")
        for each in resources
    )


def _path_matches(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*")))


DEFAULT_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]


def _rule(verbs: list[str], group: str, *resources: str) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


def _paths(*paths: str) -> dict[str, Any]:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_VIEW = [
    _rule(_READ, "", "configmaps", "pods", "serviceaccounts", "namespaces"),
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
    """Return the default ClusterRoles."""
    return [_object("ClusterRole", name, rules=rules) for name, rules in _ROLES.items()]


def cluster_role_bindings() -> list[Object]:
    """Return the default ClusterRoleBindings."""
    return [
        _object(
            "ClusterRoleBinding",
            name,
            subjects=[{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups],
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        )
        for name, groups in _BINDINGS.items()
    ]
