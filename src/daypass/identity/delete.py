"""The end of an identity: everything that was made for it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daypass._core.hints import command
from daypass.identity import marks
from daypass.identity.account import (
    Account,
    ForeignAccountError,
    NoIdentityError,
    find_account,
)
from daypass.identity.belongings import belongings_of, find_belongings, warn_of_opened
from daypass.identity.naming import IdentityName
from daypass.identity.policing import warn_of_label
from daypass.identity.tokens import token_secrets
from daypass.identity.watched import stop_watching
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS

OURS = (
    marks.IDENTITY, marks.DOOR, marks.AUDIENCE, marks.LIFETIME, marks.AUTHORITY, marks.ADOPTED,
    marks.DEADLINE,
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
    belongings = belongings_of(name, find_belongings(cluster, name.namespace, warn))
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
        "labels": {marks.MANAGED_BY: None},
        "annotations": dict.fromkeys(OURS),
    }
    cluster.patch(SERVICE_ACCOUNTS, name.name, {"metadata": metadata}, name.namespace)
