"""Acting as somebody else, for whom RBAC lets: `Impersonate-User` and what goes with it.

The right is `impersonate` on each of the names (apiserver/pkg/endpoints/filters/impersonation).
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from daypass.local.apiserver import errors
from daypass.local.apiserver.kinds import AUTHENTICATION
from daypass.local.apiserver.rbac import Attributes, authorize
from daypass.local.apiserver.requests import ApiRequest
from daypass.local.apiserver.store import Store
from daypass.local.apiserver.users import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    service_account_user,
)

_EXTRA = "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"
_PLAIN = Attributes(user=ANONYMOUS, verb="impersonate", resource="groups")


def wanted(request: ApiRequest) -> User | None:
    """Whom a request wants to be made by; nobody else for most. Raises the 400."""
    sent = [(name, value) for name, value in request.headers if name.startswith("impersonate-")]
    groups = tuple(value for name, value in sent if name == "impersonate-group" and value)
    extra: dict[str, list[str]] = {}
    for name, value in sent:
        if name.startswith(_EXTRA):
            extra.setdefault(unquote(name.removeprefix(_EXTRA)), []).append(value)
    name, uid = request.header("impersonate-user"), request.header("impersonate-uid")
    if name:
        return User(name=name, uid=uid, groups=groups, extra=extra)
    if groups or uid or extra:
        raise errors.bad_request("requested groups, UID or extra without impersonating a user name")
    return None


def allowed(store: Store, user: User, other: User) -> bool:
    """Whether a user may be another, each part of whom is a right of its own."""
    ask = Attributes(user=user, verb="impersonate", resource="users", name=other.name)
    if place := _account(other.name):
        ask = replace(ask, resource="serviceaccounts", namespace=place[0], name=place[1])
    asked = [ask, *(replace(_PLAIN, user=user, name=group) for group in other.groups)]
    detail = replace(_PLAIN, user=user, group=AUTHENTICATION)
    if other.uid:
        asked.append(replace(detail, resource="uids", name=other.uid))
    asked += [
        replace(detail, resource="userextras", subresource=key, name=value)
        for key, values in other.extra.items()
        for value in values
    ]
    return all(authorize(store, attributes).allowed for attributes in asked)


def mode(other: User) -> str:
    """What Kubernetes calls this way of acting as somebody, in its refusal."""
    return "serviceaccount" if _account(other.name) else "user-info"


def completed(other: User) -> User:
    """The other with the groups that follow from the name."""
    groups = other.groups
    if not groups and (place := _account(other.name)):
        groups = service_account_user(*place, "").groups
    belongs = UNAUTHENTICATED if other.name == ANONYMOUS.name else AUTHENTICATED
    if belongs not in groups:
        groups = (*groups, belongs)
    return User(name=other.name, uid=other.uid, groups=groups, extra=other.extra)


def _account(name: str) -> tuple[str, str] | None:
    parts = name.removeprefix(_ACCOUNT).split(":")
    if name.startswith(_ACCOUNT) and len(parts) == 2 and all(parts):
        return parts[0], parts[1]
    return None
