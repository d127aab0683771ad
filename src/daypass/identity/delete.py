"""Everything that is marked as an identity's, wherever it is, and its end in an order without gaps.

The order, and why. First the RoleBinding by which the identity asks for its own tokens: from then
on none is made. Then the Secrets: the long-lived tokens end, and what hangs on them. Then grants
in any namespace, and the Role. The ServiceAccount comes last: until then a run that broke off can
be seen and repeated; with it end also those tokens that hang on nothing.

Taken the other way round, an API server that remembers the long-lived token for some seconds would
let it make a token that hangs on nothing and outlives the Secret.

Revocation: every long-lived token of an identity ends now, and all that hangs on it.

A Secret that is made again under a name that was used before holds the same token, byte by byte
(it has no time and no number in it), so names are never used twice.

The end of an identity: everything that was made for it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass.identity.model import (
    Account,
    ForeignAccountError,
    IdentityName,
    NoIdentityError,
    find_account,
    role_name,
)
from daypass.identity.namespaces import stop_watching, warn_of_label
from daypass.identity.tokens import token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import is_embedded
from daypass.kube.errors import ConflictError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Object,
    Resource,
    name_of,
    uid_of,
)

GRANTS = (ROLE_BINDINGS, AUTHORIZATION_POLICIES)
Warn = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObject:
    """An object that is marked as an identity's."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    owner: str

    @property
    def shown(self) -> str:
        """As people read it: `rolebindings/x in team`."""
        return self.resource.named(self.namespace, self.name)

    def remove(self, cluster: Cluster) -> bool:
        """Delete this very object; False where it is gone already."""
        return cluster.delete(self.resource, self.name, self.namespace, uid=self.uid)


def find_owned_objects(cluster: Cluster, namespace: str | None, warn: Warn) -> list[OwnedObject]:
    """What is marked as any identity's of a namespace (None: of all), in the order of removal.

    Grants are looked for in all namespaces, and where that is forbidden, in that one alone.
    """
    found: list[OwnedObject] = []
    for resource in (SECRETS, ROLES):
        found += _marked(resource, cluster.list(
            resource, namespace, labels=labels.SELECTOR, metadata_only=True
        ))  # fmt: skip
    for resource in GRANTS:
        found += _marked(resource, _grants(cluster, resource, namespace, warn))
    return sorted(found, key=_step)


def owned_objects_of(name: IdentityName, found: Iterable[OwnedObject]) -> list[OwnedObject]:
    """Those of one identity."""
    return [each for each in found if each.owner == name.key]


def warn_of_opened(cluster: Cluster, removed: Iterable[OwnedObject], warn: Warn) -> None:
    """Say where the last AuthorizationPolicy that allows went: Istio lets everybody in there."""
    places = {each.namespace for each in removed if each.resource is AUTHORIZATION_POLICIES}
    for namespace in sorted(places):
        left = cluster.list(AUTHORIZATION_POLICIES, namespace)
        if not any((each.get("spec") or {}).get("action", "ALLOW") == "ALLOW" for each in left):
            warn(
                f"{namespace} has no AuthorizationPolicy left that allows anything",
                "Istio takes that as leave for everybody: is that meant?",
            )


def _grants(
    cluster: Cluster, resource: Resource, namespace: str | None, warn: Warn
) -> list[Object]:
    try:
        return cluster.list(resource, labels=labels.SELECTOR, metadata_only=True)
    except NotFoundError:
        return []  # Istio is not installed
    except ForbiddenError as error:
        if namespace is None:
            raise
        warn(f"{resource.plural} of other namespaces are not looked for", error.hint)
    try:
        return cluster.list(resource, namespace, labels=labels.SELECTOR, metadata_only=True)
    except ForbiddenError as error:
        warn(f"{resource.plural} are not looked for", error.hint)
        return []


def _marked(resource: Resource, documents: Iterable[Object]) -> list[OwnedObject]:
    return [
        OwnedObject(
            resource=resource,
            namespace=document["metadata"]["namespace"],
            name=name_of(document),
            uid=uid_of(document),
            owner=owner,
        )
        for document in documents
        if (owner := (document["metadata"].get("annotations") or {}).get(labels.IDENTITY))
    ]


def _step(belonging: OwnedObject) -> int:
    own = belonging.owner.partition("/")[2]
    if belonging.resource is ROLE_BINDINGS and belonging.name == role_name(own):
        return 0
    return {SECRETS: 1, ROLE_BINDINGS: 2, AUTHORIZATION_POLICIES: 2}.get(belonging.resource, 3)


REMEMBERED_SECONDS = 10
"""How long an API server may remember a token that it has let in
(k8s.io/apiserver/pkg/authentication/token/cache)."""

ROUNDS = 5


class NotRevokedError(DaypassError):
    """Somebody makes token Secrets of the identity as fast as they are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedIdentity:
    """The Secrets that were deleted, and those of others that hold a token of it as well.

    `uids`: of those that were deleted.
    """

    name: IdentityName
    deleted: tuple[str, ...]
    left: tuple[str, ...]
    uids: tuple[str, ...] = ()


def revoke(cluster: Cluster, name: IdentityName) -> RevokedIdentity:
    """Delete every token Secret of an identity, until there is none. Raises NotRevokedError."""
    deleted: dict[str, str] = {}
    for _ in range(ROUNDS):
        secrets = token_secrets(cluster, name)
        ours = [secret for secret in secrets if secret.is_ours]
        if not ours:
            left = tuple(secret.name for secret in secrets if not secret.is_ours)
            uids = tuple(deleted.values())
            return RevokedIdentity(name=name, deleted=tuple(deleted), left=left, uids=uids)
        for secret in ours:
            try:
                if cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid):
                    deleted[secret.name] = secret.uid
            except ConflictError:
                continue  # another one of that name: the next round sees it
    show = kubectl("get", "secrets", "-n", name.namespace, "-o", "yaml", "--show-managed-fields")
    raise NotRevokedError(
        f"identity {name} gets new token Secrets as fast as they are deleted",
        "look at who makes them" if is_embedded(cluster) else f"who makes them: {show}",
    )


OURS = (
    labels.IDENTITY, labels.DOOR, labels.AUDIENCE, labels.LIFETIME, labels.AUTHORITY,
    labels.ADOPTED, labels.DEADLINE,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What was deleted, and what was left because others made it.

    `secret_uids`, `account_uid`: of what tokens hang on, among what was deleted.
    """

    name: IdentityName
    deleted: tuple[str, ...]
    left: tuple[str, ...]
    secret_uids: tuple[str, ...] = ()
    account_uid: str | None = None


def delete(
    cluster: Cluster, name: IdentityName, *, warn: Callable[[str, str], None], dry_run: bool = False
) -> Deleted:
    """Remove everything of an identity. Goes on where a run before broke off.

    An adopted ServiceAccount stays, without our marks. Raises NoIdentityError where nothing of the
    identity is there, ForeignAccountError.
    """
    account = find_account(cluster, name)
    belongings = owned_objects_of(name, find_owned_objects(cluster, name.namespace, warn))
    if not belongings and (account is None or not account.is_ours):
        if account is not None:
            raise ForeignAccountError(
                f"ServiceAccount {name} is no identity: nothing of it is daypass'", ""
            )
        hint = command("identity", "list", "-n", name.namespace)
        raise NoIdentityError(f"there is no identity {name}", hint)
    others = [each.name for each in token_secrets(cluster, name) if not each.is_ours]
    removed = [each for each in belongings if dry_run or each.remove(cluster)]
    deleted = [each.shown for each in removed]
    if not dry_run:
        warn_of_opened(cluster, belongings, warn)
        if stop_watching(cluster, name, warn):
            warn_of_label(cluster, name.namespace, warn)
    # The account goes last: by it a run that broke off is known to be unfinished.
    account_uid: str | None = None
    left = [f"secrets/{each} in {name.namespace}" for each in others]
    shown = SERVICE_ACCOUNTS.named(name.namespace, name.name)
    if account is not None and (account.is_adopted or not account.is_ours):
        left.insert(0, shown)
        if account.is_ours and not dry_run:
            _disown(cluster, account)
    elif account is not None:
        if dry_run or cluster.delete(SERVICE_ACCOUNTS, name.name, name.namespace, uid=account.uid):
            deleted.append(shown)
            account_uid = account.uid
        left = []  # the cluster deletes token Secrets whose ServiceAccount is gone
    return Deleted(
        name=name,
        deleted=tuple(deleted),
        left=tuple(left),
        secret_uids=tuple(each.uid for each in removed if each.resource is SECRETS),
        account_uid=account_uid,
    )


def _disown(cluster: Cluster, account: Account) -> None:
    """Take our marks off a ServiceAccount that others made."""
    name = account.name
    metadata = {
        "uid": account.uid,
        "labels": {labels.MANAGED_BY: None},
        "annotations": dict.fromkeys(OURS),
    }
    cluster.patch(SERVICE_ACCOUNTS, name.name, {"metadata": metadata}, name.namespace)
