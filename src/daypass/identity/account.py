"""The ServiceAccount of an identity: whether there is one, whose it is, what its marks say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.status import printable
from daypass.identity import marks
from daypass.identity.deadlines import is_past
from daypass.identity.naming import IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SERVICE_ACCOUNTS, Object


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
        manager = (metadata.get("labels") or {}).get(marks.MANAGED_BY, "")
        return cls(
            name=name,
            uid=metadata["uid"],
            is_ours=manager == marks.MANAGER and annotations.get(marks.IDENTITY) == name.key,
            manager=manager,
            annotations=annotations,
        )

    @property
    def is_adopted(self) -> bool:
        """Whether somebody else made it, and it outlives the identity."""
        return marks.ADOPTED in self.annotations

    def has_ended(self, clock: Clock) -> bool:
        """Whether its deadline has passed."""
        return is_past(self.annotations.get(marks.DEADLINE), clock)


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
    if account.manager not in ("", marks.MANAGER):
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
