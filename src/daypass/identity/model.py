"""The objects that make up an identity, as plain dictionaries.

What an identity is called, and what is called after it.

The ServiceAccount of an identity: whether there is one, whose it is, what its marks say.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daypass._core import labels
from daypass._core.clock import Clock, utc
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass._core.k8s_names import is_label, is_subdomain
from daypass._core.text import printable
from daypass._core.timestamps import parse_rfc3339, rfc3339
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SERVICE_ACCOUNTS

Object = dict[str, Any]

SUFFIX_LENGTH = 20
SUFFIX_ALPHABET = string.ascii_lowercase + string.digits
TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secrets
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
LABELS = {
    labels.MANAGED_BY: labels.MANAGER,
    "app.kubernetes.io/part-of": "daypass",
    "app.kubernetes.io/component": "identity",
}


def new_secret_name(service_account: str) -> str:
    """`<serviceaccount>-daypass-<20 random [a-z0-9]>`, a name that nobody can guess or reuse."""
    suffix = "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
    return f"{service_account}-daypass-{suffix}"


def role_name(service_account: str) -> str:
    """What the Role and the RoleBinding for an identity's own TokenRequests are called."""
    return f"{service_account}-daypass-token"


def identity_objects(
    namespace: str, name: str, secret_name: str, annotations: Mapping[str, str] | None = None
) -> list[Object]:
    """ServiceAccount, Role and RoleBinding for its own TokenRequests, and the token Secret.

    In the order in which they are to be made: the Secret last, since a token is of use only once
    the rights are there. The Secret is never listed in `ServiceAccount.secrets`, where the API
    server's cleaner of unused tokens would find it. `annotations`: further ones of the
    ServiceAccount. One that was adopted (marks.ADOPTED) keeps its own labels.
    """
    role = role_name(name)
    rbac = "rbac.authorization.k8s.io"
    account = _object("v1", "ServiceAccount", namespace, name, name)
    account["metadata"]["annotations"] |= annotations or {}
    if labels.ADOPTED in account["metadata"]["annotations"]:
        account["metadata"]["labels"] = {labels.MANAGED_BY: labels.MANAGER}
    return [
        account,
        {
            **_object(f"{rbac}/v1", "Role", namespace, role, name),
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["serviceaccounts/token"],
                    "resourceNames": [name],
                    "verbs": ["create"],
                }
            ],
        },
        {
            **_object(f"{rbac}/v1", "RoleBinding", namespace, role, name),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
        token_secret(namespace, name, secret_name),
    ]


def token_secret(
    namespace: str, name: str, secret_name: str, *, replaces: str | None = None
) -> Object:
    """A Secret that the cluster fills with a long-lived token of the ServiceAccount.

    `replaces`: the Secret that a rotation makes it for.
    """
    secret = _object("v1", "Secret", namespace, secret_name, name)
    secret["metadata"]["annotations"][ACCOUNT_ANNOTATION] = name
    if replaces is not None:
        secret["metadata"]["annotations"][labels.REPLACES] = replaces
    return {**secret, "type": TOKEN_TYPE}


def _object(api_version: str, kind: str, namespace: str, name: str, identity: str) -> Object:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": dict(LABELS),
        "annotations": {labels.IDENTITY: f"{namespace}/{identity}"},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


LONGEST_CHARACTERS = 253 - len("-daypass-") - SUFFIX_LENGTH
"""Of a name: those of its token Secrets are this much longer, and end at 253."""


class BadNameError(UsageError):
    """A name that Kubernetes, or a name made from it, cannot have."""


def verify_object_name(kind: str, name: str) -> None:
    """Raise BadNameError for what no ServiceAccount and no Secret can be called."""
    if not is_subdomain(name):
        raise BadNameError(
            f"{printable(name, 80)!r} is no name of a {kind}",
            "use up to 253 of a-z, 0-9, - and ., beginning and ending with a letter or digit",
        )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class IdentityName:
    """Namespace and name of a ServiceAccount. Use `parse` for what people typed."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, namespace: str, name: str) -> IdentityName:
        """The same, checked: nothing that Kubernetes would refuse is sent. Raises BadNameError."""
        if not is_label(namespace):
            raise BadNameError(
                f"{printable(namespace, 80)!r} is no namespace",
                "use up to 63 of a-z, 0-9 and -, with no - at either end",
            )
        if len(name) > LONGEST_CHARACTERS:
            raise BadNameError(
                f"a name of {len(name)} characters is too long",
                f"use up to {LONGEST_CHARACTERS}: its Secrets are called NAME-daypass-"
                f"<{SUFFIX_LENGTH} more>",
            )
        verify_object_name("ServiceAccount", name)
        return cls(namespace=namespace, name=name)

    @classmethod
    def of_key(cls, key: str) -> IdentityName | None:
        """The name in an annotation IDENTITY, or None where it holds something else."""
        namespace, _, name = key.partition("/")
        try:
            return cls.parse(namespace, name)
        except BadNameError:
            return None

    @property
    def key(self) -> str:
        """What the annotation IDENTITY of its objects says."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return self.key


class ForeignAccountError(DaypassError):
    """A ServiceAccount of that name is there, and daypass did not make it."""


class NoIdentityError(DaypassError):
    """There is no identity of that name."""


class EndedError(DaypassError):
    """The identity's deadline has passed, or its tokens are revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A ServiceAccount, as far as it is an identity. `manager`: who says that it manages it."""

    name: IdentityName
    uid: str
    is_ours: bool
    manager: str
    annotations: Mapping[str, str]

    @classmethod
    def read(cls, document: Object) -> Account:
        """The same in an object of the API server's."""
        metadata = document["metadata"]
        name = IdentityName(namespace=metadata["namespace"], name=metadata["name"])
        annotations = metadata.get("annotations") or {}
        manager = (metadata.get("labels") or {}).get(labels.MANAGED_BY, "")
        return cls(
            name=name,
            uid=metadata["uid"],
            is_ours=manager == labels.MANAGER and annotations.get(labels.IDENTITY) == name.key,
            manager=manager,
            annotations=annotations,
        )

    @property
    def is_adopted(self) -> bool:
        """Whether somebody else made it, and it outlives the identity."""
        return labels.ADOPTED in self.annotations

    def has_ended(self, clock: Clock) -> bool:
        """Whether its deadline has passed."""
        return is_past(self.annotations.get(labels.DEADLINE), clock)


def find_account(cluster: Cluster, name: IdentityName) -> Account | None:
    """The ServiceAccount of that name, whosever it is."""
    document = cluster.find(SERVICE_ACCOUNTS, name.name, name.namespace)
    return None if document is None else Account.read(document)


def get_identity(cluster: Cluster, name: IdentityName) -> Account:
    """The identity of that name. Raises NoIdentityError, ForeignAccountError."""
    account = find_account(cluster, name)
    if account is None:
        hint = command("identity", "list", "-n", name.namespace)
        raise NoIdentityError(f"there is no identity {name}", hint)
    if not account.is_ours:
        raise ForeignAccountError(
            f"ServiceAccount {name} is no identity: daypass did not make it",
            "to make it one: "
            + command("identity", "create", name.name, "-n", name.namespace, "--adopt"),
        )
    return account


def refuse_foreign(account: Account | None, *, adopt: bool) -> None:
    """Raise ForeignAccountError where an identity would take over what somebody else made."""
    if account is None or account.is_ours:
        return
    name = account.name
    if account.manager not in ("", labels.MANAGER):
        raise ForeignAccountError(
            f"ServiceAccount {name} is managed by {printable(account.manager, 63)}",
            "it would fight over it: choose another name, and give that identity the rights",
        )
    if not adopt:
        raise ForeignAccountError(
            f"ServiceAccount {name} is there already, and daypass did not make it",
            "choose another name; or, if clients from outside may have all that it may do,"
            " add --adopt",
        )


LONGEST_SECONDS = 100 * 366 * 86_400
"""A century from now: what is to end later is a slip of the hand, or outside the calendar."""


def in_seconds(clock: Clock, seconds: float) -> str:
    """The moment so many seconds from now, for an annotation."""
    return rfc3339(utc(clock.unix() + seconds))


def is_past(moment: str | None, clock: Clock) -> bool:
    """Whether an annotated moment has come. One that cannot be read has not."""
    parsed = parse_rfc3339(moment) if moment else None
    return parsed is not None and parsed.timestamp() <= clock.unix()


def age_seconds(created: str, clock: Clock) -> float:
    """How old an object of this creationTimestamp is; 0 where it has none."""
    parsed = parse_rfc3339(created)
    return clock.unix() - parsed.timestamp() if parsed else 0.0
