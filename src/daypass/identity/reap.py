"""Carrying out what annotations promise: deadlines of identities, and of Secrets rotated out.

An identity whose deadline has passed loses its tokens and every right that was given to it, in the
order of a deletion. Its ServiceAccount stays, marked, so that a list shows what has ended and when;
`create --expires` lets it in again, `delete` removes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from daypass._core.errors import DaypassError
from daypass._core.status import printable
from daypass.client.times import parse_rfc3339
from daypass.identity import marks
from daypass.identity.account import Account
from daypass.identity.belongings import belongings_of, find_belongings, warn_of_opened
from daypass.identity.deadlines import is_past
from daypass.identity.tokens import TokenSecret, our_token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS


class ReapError(DaypassError):
    """Something that was to end is still there."""


@dataclass(slots=True, kw_only=True)
class Reaped:
    """What ended (identities by their names, objects in words), and what went wrong.

    `secrets`: namespaces and UIDs of the Secrets among them.
    """

    ended: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    errors: list[DaypassError] = field(default_factory=list)
    secrets: list[tuple[str, str]] = field(default_factory=list)

    def attempt(
        self,
        shown: str,
        remove: Callable[[], bool] | None,
        secret: tuple[str, str] | None = None,
    ) -> None:
        """Remove something (None: only say so), and go on if that fails."""
        if shown in self.deleted:
            return  # a Secret that was rotated out, of an identity that has ended
        try:
            if remove is None or remove():
                self.deleted.append(shown)
                self.secrets += [secret] if secret is not None else []
        except ConflictError:
            return  # not the one that was looked at any more: next time
        except DaypassError as error:
            self.errors.append(error)


def reap(
    cluster: Cluster,
    namespace: str | None,
    *,
    warn: Callable[[str, str], None],
    dry_run: bool = False,
) -> Reaped:
    """End what is to have ended by now, in a namespace or (None) in all. Never raises half-way.

    `dry_run`: only say what would end.
    """
    reaped = Reaped()
    for secret in our_token_secrets(cluster, namespace):
        _reap_secret(cluster, secret, reaped, dry_run=dry_run)
    documents = cluster.list(SERVICE_ACCOUNTS, namespace, labels=marks.SELECTOR, metadata_only=True)
    ended: list[Account] = []
    for account in map(Account.read, documents):
        if account.is_ours:
            deadline = account.annotations.get(marks.DEADLINE)
            _complain(f"identity {account.name}", marks.DEADLINE, deadline, reaped)
            ended += [account] if is_past(deadline, cluster.clock) else []
    found = find_belongings(cluster, namespace, warn) if ended else []
    for account in ended:
        belongings = belongings_of(account.name, found)
        reaped.ended += [account.name.key] if belongings else []
        for each in belongings:
            held = (each.namespace, each.uid) if each.resource is SECRETS else None
            reaped.attempt(each.shown, None if dry_run else partial(each.remove, cluster), held)
        if not dry_run:
            warn_of_opened(cluster, belongings, warn)
    return reaped


def _reap_secret(cluster: Cluster, secret: TokenSecret, reaped: Reaped, *, dry_run: bool) -> None:
    place = secret.account.namespace
    shown = SECRETS.named(place, secret.name)
    _complain(shown, marks.RETIRE_AFTER, secret.retire_after, reaped)
    if is_past(secret.retire_after, cluster.clock):
        remove = partial(cluster.delete, SECRETS, secret.name, place, uid=secret.uid)
        reaped.attempt(shown, None if dry_run else remove, (place, secret.uid))


def _complain(shown: str, mark: str, moment: str | None, reaped: Reaped) -> None:
    if moment is not None and parse_rfc3339(moment) is None:
        reaped.errors.append(
            ReapError(
                f"{shown}: {mark} is no moment: {printable(moment, 40)!r}",
                "write it as 2026-11-24T16:00:00Z",
            )
        )
