"""Rotating many identities at once: in parallel, and one that fails does not stop the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import make_private_folder
from daypass.identity import marks
from daypass.identity.account import Account
from daypass.identity.deadlines import age_seconds
from daypass.identity.handover import check_file, write_file
from daypass.identity.naming import IdentityName
from daypass.identity.rotate import Rotated, rotate
from daypass.identity.tokens import TokenSecret, current, live, our_token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SERVICE_ACCOUNTS

THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An identity that is to be rotated, with its Secrets."""

    account: Account
    secrets: tuple[TokenSecret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one of them: `rotated` and the `file`, or the `error`."""

    name: IdentityName
    file: str
    rotated: Rotated | None = None
    error: DaypassError | None = None


def find_members(
    cluster: Cluster, namespace: str | None, *, older_than_seconds: int = 0
) -> list[Member]:
    """The identities whose live token is at least so old; not those that are revoked or ended."""
    accounts = cluster.list(SERVICE_ACCOUNTS, namespace, labels=marks.SELECTOR, metadata_only=True)
    by_account: dict[IdentityName, list[TokenSecret]] = {}
    for secret in our_token_secrets(cluster, namespace):
        by_account.setdefault(secret.account, []).append(secret)
    members = []
    for account in map(Account.read, accounts):
        secrets = by_account.get(account.name, [])
        latest = current(live(secrets, account.uid))
        if (
            account.is_ours
            and latest is not None
            and not account.has_ended(cluster.clock)
            and age_seconds(latest.created, cluster.clock) >= older_than_seconds
        ):
            members.append(Member(account=account, secrets=tuple(secrets)))
    return sorted(members, key=lambda member: member.account.name)


def rotate_all(
    cluster: Cluster, members: Sequence[Member], folder: str, *, overlap_seconds: int
) -> Iterator[Outcome]:
    """Rotate them all, each with a credentials file `folder/NAMESPACE/NAME.json`, as they end."""
    try:
        for namespace in sorted({member.account.name.namespace for member in members}):
            make_private_folder(os.path.join(folder, namespace))
    except OSError as error:
        raise UsageError(
            f"{folder} is no folder to write to: {error.strerror}", "name another: --output-dir DIR"
        ) from None
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="daypass-rotate")
    try:
        tasks = [
            pool.submit(_rotate_one, cluster, each, folder, overlap_seconds) for each in members
        ]
        yield from (task.result() for task in as_completed(tasks))
    finally:
        pool.shutdown(cancel_futures=True)


def _rotate_one(cluster: Cluster, member: Member, folder: str, overlap_seconds: int) -> Outcome:
    name = member.account.name
    path = os.path.join(folder, name.namespace, f"{name.name}.json")
    try:
        check_file(path, name, now_unix=cluster.clock.unix())
        rotated = rotate(
            cluster,
            member.account,
            member.secrets,
            hand_over=lambda content: write_file(path, content),
            overlap_seconds=overlap_seconds,
        )
    except DaypassError as error:
        return Outcome(name=name, file=path, error=error)
    return Outcome(name=name, file=path, rotated=rotated)
