"""An identity: its name, its ServiceAccount, and the Kubernetes objects that make it up.

Times in annotations are RFC 3339, UTC.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from daypass._core.clock import deadline_unix
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, new_object
from daypass._core.kubernetes.syntax import LABEL_HINT, RBAC_GROUP, is_label, is_subdomain
from daypass._core.text import printable
from daypass.kube.cluster import Cluster
from daypass.kube.resources import (
    ACCOUNT_ANNOTATION,
    ACCOUNT_UID_ANNOTATION,
    SERVICE_ACCOUNTS,
    TOKEN_TYPE,
)

Warn: TypeAlias = Callable[[str, str], None]
"""Shows a warning: the fact, and what to do about it (may be empty)."""

LONGEST_NAME_CHARACTERS = 253 - len(labels.SECRET_INFIX) - labels.SECRET_SUFFIX_LENGTH
"""The names of an identity's token Secrets are longer than its own, and may have 253."""
LONGEST_SECONDS = 100 * 366 * 86_400
"""A century. A later deadline is a typing error, or outside the calendar."""


class BadNameError(UsageError):
    """A name that Kubernetes does not allow, or that is too long for a token Secret's name."""


class ForeignAccountError(DaypassError):
    """There is a ServiceAccount of that name, and daypass did not create it."""


class IdentityNotFoundError(DaypassError):
    """There is no identity of that name."""


class InactiveIdentityError(DaypassError):
    """The identity has expired, or has no live token."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class IdentityName:
    """Namespace and name of a ServiceAccount. Use `parse` for user input."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, namespace: str, name: str) -> IdentityName:
        """Return the checked name. Raises BadNameError."""
        if not is_label(namespace):
            raise BadNameError(
                f"{printable(namespace, 80)!r} is not a valid namespace",
                LABEL_HINT,
            )
        if len(name) > LONGEST_NAME_CHARACTERS:
            raise BadNameError(
                f"a name of {len(name)} characters is too long",
                f"use up to {LONGEST_NAME_CHARACTERS}: the names of its Secrets are"
                f" NAME{labels.SECRET_INFIX}<{labels.SECRET_SUFFIX_LENGTH} more>",
            )
        check_object_name("ServiceAccount", name)
        return cls(namespace=namespace, name=name)

    @classmethod
    def parse_key(cls, key: str) -> IdentityName | None:
        """Return the name in an IDENTITY annotation, or None for any other value."""
        namespace, _, name = key.partition("/")
        try:
            return cls.parse(namespace, name)
        except BadNameError:
            return None

    @property
    def key(self) -> str:
        """The value of the IDENTITY annotation on its objects."""
        return f"{self.namespace}/{self.name}"

    @property
    def user(self) -> str:
        """Its user name in Kubernetes, which the gate forwards."""
        return f"{labels.SERVICE_ACCOUNT}{self.namespace}:{self.name}"

    def __str__(self) -> str:
        return self.key


def check_object_name(kind: str, name: str) -> None:
    """Raise BadNameError for a name that Kubernetes allows for no ServiceAccount or Secret."""
    if not is_subdomain(name):
        raise BadNameError(
            f"{printable(name, 80)!r} is not a valid name for a {kind}",
            "use up to 253 of a-z, 0-9, - and ., beginning and ending with a letter or digit",
        )


def new_secret_name(service_account: str, infix: str = labels.SECRET_INFIX) -> str:
    """Return `<serviceaccount>-daypass-<20 random [a-z0-9]>`, which is never reused."""
    alphabet = string.ascii_lowercase + string.digits
    suffix = "".join(secrets.choice(alphabet) for _ in range(labels.SECRET_SUFFIX_LENGTH))
    return f"{service_account}{infix}{suffix}"


def role_name(service_account: str) -> str:
    """Return the name of the Role and RoleBinding that let an identity request its own tokens."""
    return f"{service_account}-daypass-token"


def federated_binding_name(service_account: str) -> str:
    """Return the name of the RoleBinding that lets another issuer's users request its tokens."""
    return f"{service_account}-daypass-federated"


def token_right_names(service_account: str) -> tuple[str, str]:
    """Return the names of the RoleBindings that let somebody request an identity's tokens. The
    first is its Role's, too.
    """
    return role_name(service_account), federated_binding_name(service_account)


def account_objects(
    name: IdentityName, annotations: Mapping[str, str] = {}, users: Sequence[str] | None = None
) -> list[Object]:
    """Return ServiceAccount, Role and RoleBinding, in the order to create them.

    `users`: those of another issuer that may request its tokens; None: the identity itself. An
    adopted ServiceAccount (annotation ADOPTED) keeps its own labels.
    """
    role = role_name(name.name)
    account = _new_object("v1", "ServiceAccount", name, name.name, annotations)
    if labels.ADOPTED in annotations:
        account["metadata"]["labels"] = {labels.MANAGED_BY: labels.MANAGER}
    rule = {
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [name.name],
        "verbs": ["create"],
    }
    itself = {"kind": "ServiceAccount", "name": name.name, "namespace": name.namespace}
    others = [{"kind": "User", "apiGroup": RBAC_GROUP, "name": user} for user in users or ()]
    binding = role if users is None else federated_binding_name(name.name)
    return [
        account,
        {**_new_object(f"{RBAC_GROUP}/v1", "Role", name, role), "rules": [rule]},
        {
            **_new_object(f"{RBAC_GROUP}/v1", "RoleBinding", name, binding),
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": role},
            "subjects": [itself] if users is None else others,
        },
    ]


def token_secret(
    name: IdentityName, secret_name: str | None = None, *, replaces: str | None = None
) -> Object:
    """Return a Secret that the cluster fills with a long-lived token of the ServiceAccount.

    It is not listed in `ServiceAccount.secrets`, where the cluster's token cleaner would find it.
    `secret_name`: None for a new one. `replaces`: the Secret that it replaces in a rotation.
    """
    secret_name = secret_name or new_secret_name(name.name)
    return {**_secret(name, secret_name, replaces), "type": TOKEN_TYPE}


def anchor_secret(
    name: IdentityName,
    uid: str,
    source: str,
    secret_name: str | None = None,
    *,
    replaces: str | None = None,
) -> Object:
    """Return an anchor: an empty Secret that the tokens of a federated identity are bound to.

    `uid`: of the ServiceAccount. `source`: where the client finds its own token.
    """
    secret_name = secret_name or new_secret_name(name.name, labels.ANCHOR_INFIX)
    more = {ACCOUNT_UID_ANNOTATION: uid, labels.SOURCE: source}
    return {**_secret(name, secret_name, replaces, more), "type": labels.ANCHOR_TYPE}


def _secret(
    name: IdentityName, secret_name: str, replaces: str | None, more: Mapping[str, str] = {}
) -> Object:
    annotations = {ACCOUNT_ANNOTATION: name.name, **more}
    if replaces is not None:
        annotations[labels.REPLACES] = replaces
    return _new_object("v1", "Secret", name, secret_name, annotations)


def users_of(binding: Object) -> tuple[str, ...]:
    """Return the subjects of a federated identity's RoleBinding."""
    return tuple(str(subject["name"]) for subject in binding.get("subjects") or ())


def _new_object(
    api_version: str,
    kind: str,
    identity: IdentityName,
    name: str,
    annotations: Mapping[str, str] = {},
) -> Object:
    return new_object(
        api_version,
        kind,
        name,
        identity.namespace,
        labels={labels.COMPONENT: "identity"},
        annotations={labels.IDENTITY: identity.key, **annotations},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A ServiceAccount. `is_ours`: it is an identity. `manager`: its managed-by label."""

    name: IdentityName
    uid: str
    is_ours: bool
    manager: str
    annotations: Mapping[str, str]

    @classmethod
    def read(cls, document: Object) -> Account:
        metadata = document["metadata"]
        name = IdentityName(namespace=metadata["namespace"], name=metadata["name"])
        return cls(
            name=name,
            uid=metadata["uid"],
            is_ours=is_owned_by(document, name),
            manager=(metadata.get("labels") or {}).get(labels.MANAGED_BY, ""),
            annotations=metadata.get("annotations") or {},
        )

    @property
    def is_adopted(self) -> bool:
        """Whether daypass did not create it, and so does not delete it."""
        return labels.ADOPTED in self.annotations

    def has_expired(self, now_unix: float) -> bool:
        """Return whether its deadline has passed; one that cannot be read has."""
        return deadline_unix(self.annotations.get(labels.DEADLINE)) <= now_unix


def is_owned_by(document: Object, identity: IdentityName) -> bool:
    """Return whether labels and annotations mark an object as part of this identity."""
    return owner_of(document) == identity.key


def owner_of(document: Object) -> str | None:
    """Return the key of the identity that an object is part of, or None."""
    metadata: dict[str, Any] = document["metadata"]
    if (metadata.get("labels") or {}).get(labels.MANAGED_BY) != labels.MANAGER:
        return None
    return (metadata.get("annotations") or {}).get(labels.IDENTITY) or None


def find_account(cluster: Cluster, name: IdentityName) -> Account | None:
    """Return the ServiceAccount of that name, an identity or not; None if there is none."""
    document = cluster.find(SERVICE_ACCOUNTS, name.name, name.namespace)
    return None if document is None else Account.read(document)


def list_identities(cluster: Cluster, namespace: str | None) -> list[Account]:
    """Return the identities of a namespace or (None) of all."""
    found = cluster.list(SERVICE_ACCOUNTS, namespace, labels=labels.SELECTOR, metadata_only=True)
    return [account for account in map(Account.read, found) if account.is_ours]


def get_identity(cluster: Cluster, name: IdentityName, *, has_tokens: bool = False) -> Account:
    """Return the identity of that name. Raises IdentityNotFoundError, ForeignAccountError.

    `has_tokens`: token Secrets of daypass show that it is one, whatever its ServiceAccount's label
    and annotation say.
    """
    account = find_account(cluster, name)
    if account is None:
        raise identity_not_found(name)
    if not account.is_ours and not has_tokens:
        raise ForeignAccountError(
            f"ServiceAccount {name} is not an identity: daypass did not create it",
            "to make it one: "
            + command("identity", "create", name.name, "-n", name.namespace, "--adopt"),
        )
    return account


def identity_not_found(name: IdentityName) -> IdentityNotFoundError:
    """Return the error for a name that no identity has."""
    hint = f"see all: {command('identity', 'list', '-A')}"
    return IdentityNotFoundError(f"there is no identity {name}", hint)
