"""Users, and role-based access control as kube-apiserver evaluates it.

The decision is pure: it depends on the Roles and bindings in the store alone
(k8s.io/kubernetes/pkg/registry/rbac/validation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from daypass.local.apiserver.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from daypass.local.apiserver.store import Store

MASTERS, AUTHENTICATED, UNAUTHENTICATED = (
    "system:masters", "system:authenticated", "system:unauthenticated",
)  # fmt: skip
_Rule = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the `UserInfo` of a review."""
        parts = {
            "username": self.name,
            "uid": self.uid,
            "groups": list(self.groups),
            "extra": self.extra,
        }
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
    """An action to authorize, on a resource or on a path."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def is_resource(self) -> bool:
        return not self.path

    @property
    def full_resource(self) -> str:
        """The resource as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def is_allowed(store: Store, attributes: Attributes) -> bool:
    """Return whether any rule allows the action."""
    user = attributes.user
    return MASTERS in user.groups or any(
        _allows(rule, attributes) for rule in _rules(store, user, attributes.namespace)
    )


def _rules(store: Store, user: User, namespace: str) -> Iterator[_Rule]:
    bindings = store.find_all(CLUSTER_ROLE_BINDING)
    if namespace:
        bindings = [*bindings, *store.find_all(ROLE_BINDING, namespace)]
    for binding in bindings:
        place, role_ref = binding["metadata"].get("namespace", ""), binding["roleRef"]
        if any(_is_subject(each, user, place) for each in binding.get("subjects", [])):
            kind = CLUSTER_ROLE if role_ref["kind"] == "ClusterRole" else ROLE
            role = store.get(kind, "" if kind is CLUSTER_ROLE else place, role_ref["name"])
            if role is not None:
                yield from role.get("rules") or []


def _is_subject(subject: dict[str, str], user: User, place: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "Group":
        return name in user.groups
    if kind == "User":
        return name == user.name
    namespace = subject.get("namespace") or place
    return (
        kind == "ServiceAccount"
        and bool(namespace)
        and user.name == service_account_name(namespace, name)
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
