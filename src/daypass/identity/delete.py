"""Revoking an identity's tokens, and deleting an identity with everything that is part of it.

The order of a deletion leaves no gap. First goes the RoleBinding that lets the identity request
tokens, so that it can make no more. Then go its Secrets, and with them the long-lived tokens and
the tokens bound to them. Then go grants in all namespaces, and the Role. The ServiceAccount is
last: it shows an interrupted run, which can be repeated, and its deletion ends unbound tokens.

In another order, an API server that still has the long-lived token in its cache for some seconds
would let the identity make an unbound token, which outlives the Secret.

A Secret that is created again under an old name gets the same token, byte for byte: it contains
neither a time nor a number. So names are never reused.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field

from daypass._core.clock import deadline_unix
from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of, uid_of
from daypass._core.secret import Secret
from daypass.client.errors import CredentialsError
from daypass.client.subject_token import read_identity
from daypass.identity.accounts import (
    Account,
    ForeignAccountError,
    IdentityName,
    Warn,
    find_account,
    identity_not_found,
    owner_of,
    token_right_names,
)
from daypass.identity.authorize import warn_of_open_pods
from daypass.identity.credential_secrets import CredentialSecret, our_secrets, secrets_of
from daypass.identity.enforcement import denies_unbound_tokens, release_namespace
from daypass.identity.grants import GRANTED
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)

REMEMBERED_SECONDS = 10
"""How long an API server may cache a token that it has accepted
(k8s.io/apiserver/pkg/authentication/token/cache)."""

_ROUNDS = 5
_ACCOUNT_ANNOTATIONS = (
    labels.IDENTITY, labels.DOOR, labels.AUDIENCE, labels.LIFETIME, labels.AUTHORITY,
    labels.ADOPTED, labels.DEADLINE,
)  # fmt: skip


class NotRevokedError(DaypassError):
    """Somebody creates Secrets of the identity as fast as they are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedIdentity:
    """What was deleted, and what is left because daypass did not create it.

    `account_uid`: of the ServiceAccount, if it was deleted. `has_ended`: no token of it is left.
    """

    deleted: list[str]
    left: list[str]
    account_uid: str | None = None
    has_ended: bool = True
    is_unmarked: bool = False
    """Whether the ServiceAccount stays because it lost daypass's label, or never had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObject:
    """An object that is annotated as part of the identity `owner`.

    `policy`: the whole object, if it is an AuthorizationPolicy.
    """

    resource: Resource
    namespace: str
    name: str
    uid: str
    owner: str
    policy: Object | None = field(default=None, compare=False)

    @property
    def display(self) -> str:
        """The object as it is shown to users: `rolebindings/x in team`."""
        return self.resource.named(self.namespace, self.name)

    @classmethod
    def secret(cls, secret: CredentialSecret) -> OwnedObject:
        return cls(
            resource=SECRETS,
            namespace=secret.account.namespace,
            name=secret.name,
            uid=secret.uid,
            owner=secret.account.key,
        )

    def remove(self, cluster: Cluster) -> bool:
        """Delete this object, and no later one of its name; return False if it is gone."""
        return cluster.delete(self.resource, self.name, self.namespace, uid=self.uid)


def revoke(cluster: Cluster, name: IdentityName) -> tuple[list[CredentialSecret], list[str]]:
    """Delete the Secrets of an identity until there are none.

    Returns the deleted ones, and the names of foreign ones that are left. Raises NotRevokedError.
    """
    deleted: list[CredentialSecret] = []
    for _ in range(_ROUNDS):
        secrets = secrets_of(cluster, name)
        ours = [secret for secret in secrets if secret.is_ours]
        if not ours or (cluster.dry_run and deleted):
            return deleted, _foreign(cluster, name, secrets, but={each.name for each in ours})
        for secret in ours:
            try:
                if cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid):
                    deleted.append(secret)
            except ConflictError:
                continue  # another one with that name: the next round sees it
    show = kubectl("get", "secrets", "-n", name.namespace, "-o", "yaml", "--show-managed-fields")
    raise NotRevokedError(
        f"identity {name} gets new Secrets as fast as they are deleted",
        f"find out who creates them: {show}",
    )


def delete(
    cluster: Cluster,
    name: IdentityName,
    *,
    warn: Warn,
    wait: Callable[[Sequence[str]], object] = lambda uids: None,
) -> DeletedIdentity:
    """Delete everything that is part of an identity; may be repeated after an interruption.

    `wait` gets the UIDs of the deleted Secrets, and
    returns once the gate knows: then its watch may lose its rights in the namespace.
    An adopted ServiceAccount stays, without daypass's label and annotations. Raises
    IdentityNotFoundError if there is no part of the identity, ForeignAccountError.
    """
    account = find_account(cluster, name)
    owned = owned_by(name, find_owned_objects(cluster, name.namespace, warn))
    if not owned and (account is None or not account.is_ours):
        if account is not None:
            raise ForeignAccountError(
                f"ServiceAccount {name} is not an identity: daypass created no part of it",
                f"see all: {command('identity', 'list', '-n', name.namespace)}",
            )
        raise identity_not_found(name)
    stays, has_ended = account is not None and (account.is_adopted or not account.is_ours), True
    if account is not None and stays and not cluster.dry_run:
        end = kubectl("delete", "serviceaccount", name.name, "-n", name.namespace)
        has_ended = denies_unbound_tokens(cluster, account, None, end, warn)
    ours = {each.name for each in owned if each.resource is SECRETS}
    foreign = _foreign(cluster, name, secrets_of(cluster, name), but=ours) if stays else []
    removed = []
    for each in owned:
        if each.remove(cluster):
            removed.append(each)
    deleted = [each.display for each in removed]
    wait([each.uid for each in removed if each.resource is SECRETS])
    warn_of_open_pods(cluster, policies_in(owned), warn)
    release_namespace(cluster, name, warn)
    account_uid: str | None = None
    left = [f"secrets/{each} in {name.namespace}" for each in foreign]
    display = SERVICE_ACCOUNTS.named(name.namespace, name.name)
    if account is not None and stays:
        left.insert(0, display)
        if account.is_ours:
            _disown(cluster, account)
    elif account is not None:
        if cluster.delete(SERVICE_ACCOUNTS, name.name, name.namespace, uid=account.uid):
            deleted.append(display)
            account_uid = account.uid
        left = []  # the cluster deletes token Secrets whose ServiceAccount is gone
    return DeletedIdentity(
        deleted=deleted,
        left=left,
        account_uid=account_uid,
        has_ended=has_ended and not (stays and foreign),
        is_unmarked=account is not None and not account.is_ours,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedExpired:
    """The identities that have expired, what was deleted, and what could not be."""

    identities: Sequence[IdentityName]
    deleted: Sequence[OwnedObject]
    errors: Sequence[DaypassError]


def delete_expired(
    cluster: Cluster,
    namespace: str | None,
    *,
    warn: Warn,
) -> DeletedExpired:
    """Delete retired Secrets, and the Secrets, Roles and grants of identities whose deadline has
    passed by the API server's clock, in a namespace or (None) in all.

    ServiceAccounts stay, so that lists still show them; those that have lost daypass's label still
    have their Secrets. Raises ApiError if objects can't be listed. What cannot be deleted is an
    error of the result.
    """
    documents = cluster.list(SERVICE_ACCOUNTS, namespace, metadata_only=True)
    accounts, secrets = [*map(Account.read, documents)], our_secrets(cluster, namespace)
    now_unix, errors = cluster.server_unix(), list[DaypassError]()
    names = [
        each.name for each in accounts if _is_over(each.annotations.get(labels.DEADLINE), now_unix)
    ]
    found = find_owned_objects(cluster, namespace, warn) if names else []
    expired = {name: owned for name in names if (owned := owned_by(name, found))}
    wanted = [each for owned in expired.values() for each in owned]
    wanted += [
        OwnedObject.secret(each) for each in secrets if _is_over(each.retire_after, now_unix)
    ]
    deleted = []
    for each in dict.fromkeys(wanted):
        try:
            if each.remove(cluster):
                deleted.append(each)
        except ConflictError:
            continue  # replaced in the meantime
        except DaypassError as error:
            errors.append(error)
    warn_of_open_pods(cluster, policies_in(wanted), warn)
    return DeletedExpired(identities=list(expired), deleted=deleted, errors=errors)


def _is_over(time: str | None, now_unix: float) -> bool:
    """Return whether a time has passed; one that cannot be read deletes nothing."""
    return -math.inf < deadline_unix(time) <= now_unix


def _foreign(
    cluster: Cluster, name: IdentityName, secrets: Iterable[CredentialSecret], *, but: Set[str]
) -> list[str]:
    """Return the names of Secrets that hold or will hold a token of this account, `but` for some.

    The API server accepts a token while a Secret of the token's name holds it, and is not being
    deleted, whatever its type and annotations (k8s.io/kubernetes/pkg/serviceaccount/legacy.go). So
    all data is read.
    """
    found = {each.name for each in secrets if not each.is_ours}
    for document in cluster.list(SECRETS, name.namespace):
        if "deletionTimestamp" in document["metadata"]:
            continue
        text = (document.get("data") or {}).get("token") or ""
        with suppress(ValueError, CredentialsError):
            token = Secret(base64.b64decode(text).decode())
            holder = read_identity(token)
            if (holder.service_account, holder.secret_name) == (name.name, name_of(document)):
                found.add(name_of(document))
    return sorted(found - but)


def find_owned_objects(cluster: Cluster, namespace: str | None, warn: Warn) -> list[OwnedObject]:
    """Return the objects of all identities of a namespace or (None) of all, in deletion order.

    Grants are listed in all namespaces or, if that is forbidden, in this one.
    """
    found = [*map(OwnedObject.secret, our_secrets(cluster, namespace))]
    for resource in GRANTED:
        found += _read(resource, _list_grants(cluster, resource, namespace, warn))
    return sorted(found, key=_step)


def owned_by(name: IdentityName, found: Iterable[OwnedObject]) -> list[OwnedObject]:
    return [each for each in found if each.owner == name.key]


def policies_in(owned: Iterable[OwnedObject]) -> list[Object]:
    return [each.policy for each in owned if each.policy is not None]


def _list_grants(
    cluster: Cluster, resource: Resource, namespace: str | None, warn: Warn
) -> list[Object]:
    for where in dict.fromkeys((None, namespace)):
        try:
            return cluster.list(
                resource,
                where,
                labels=labels.SELECTOR,
                metadata_only=resource is not AUTHORIZATION_POLICIES,
            )
        except NotFoundError:
            return []  # Istio is not installed
        except ForbiddenError as error:
            if namespace is None:
                raise
            of = " of other namespaces" if where is None else ""
            warn(f"{resource.plural}{of} cannot be listed and stay", error.hint)
    return []


def _read(resource: Resource, documents: Iterable[Object]) -> list[OwnedObject]:
    return [
        OwnedObject(
            resource=resource,
            namespace=document["metadata"]["namespace"],
            name=name_of(document),
            uid=uid_of(document),
            owner=owner,
            policy=document if resource is AUTHORIZATION_POLICIES else None,
        )
        for document in documents
        if (owner := owner_of(document))
    ]


def _step(owned: OwnedObject) -> int:
    account = owned.owner.partition("/")[2]
    if owned.resource is ROLE_BINDINGS and owned.name in token_right_names(account):
        return 0
    return {SECRETS: 1, ROLE_BINDINGS: 2, AUTHORIZATION_POLICIES: 2}.get(owned.resource, 3)


def _disown(cluster: Cluster, account: Account) -> None:
    """Remove daypass's label and annotations from an adopted ServiceAccount."""
    name = account.name
    metadata = {
        "uid": account.uid,
        "labels": {labels.MANAGED_BY: None},
        "annotations": dict.fromkeys(_ACCOUNT_ANNOTATIONS),
    }
    cluster.patch(SERVICE_ACCOUNTS, name.name, {"metadata": metadata}, name.namespace)
