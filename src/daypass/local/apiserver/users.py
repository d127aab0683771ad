"""Who makes a request (k8s.io/apiserver/pkg/authentication/user)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MASTERS, AUTHENTICATED, UNAUTHENTICATED = (
    "system:masters", "system:authenticated", "system:unauthenticated",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A name, and what is known beside it."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The `UserInfo` of a review."""
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
    """The user name, and the `sub`, of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


def service_account_user(namespace: str, name: str, uid: str, **extra: list[str]) -> User:
    """A ServiceAccount as a user, with the groups it is in."""
    return User(
        name=service_account_name(namespace, name),
        uid=uid,
        groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED),
        extra=extra,
    )
