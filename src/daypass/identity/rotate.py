"""Rotation: a new long-lived token, handed over before the old one goes.

New Secret, credentials file, and only then an end to the old Secret: at no moment is there an
identity whose credentials file does not work. A rotation that broke off goes on with the Secret
that it has made.

Rotating many identities at once: in parallel, and one that fails does not stop the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import make_private_folder
from daypass._core.hints import command
from daypass._core.secret import Secret
from daypass.identity.credentials_file import CredentialsSettings, check_file, write_file
from daypass.identity.model import (
    Account,
    EndedError,
    IdentityName,
    age_seconds,
    in_seconds,
    is_past,
    new_secret_name,
    token_secret,
)
from daypass.identity.tokens import (
    TokenSecret,
    current,
    is_unfinished,
    live,
    our_token_secrets,
    wait_for_token,
)
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS

DEFAULT_OVERLAP_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What a rotation came to. `retired` work until `retire_after`; `deleted` ended just now.

    `door`: that the credentials are for. `uids`: of those that were deleted.
    """

    name: IdentityName
    secret_name: str
    door: str
    retired: tuple[str, ...]
    retire_after: str
    deleted: tuple[str, ...]
    uids: tuple[str, ...] = ()


def rotate(
    cluster: Cluster,
    account: Account,
    secrets: Sequence[TokenSecret],
    *,
    hand_over: Callable[[bytes], None],
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
) -> Rotated:
    """Give an identity another long-lived token; `secrets` are all of its own.

    `hand_over` is given the credentials file, and comes back once it is safe. With no overlap the
    old Secrets are deleted at once. Raises EndedError, NoHandoverError.
    """
    handover = CredentialsSettings.of(account)
    name, alive = account.name, live(secrets, account.uid)
    new, old = _new_and_old(cluster, account, alive)
    token: Secret = wait_for_token(cluster, name.namespace, new)
    hand_over(handover.credentials(token))
    doomed = [each for each in secrets if each.name != new and _is_over(cluster, each)]
    if overlap_seconds == 0:
        doomed, old = [each for each in secrets if each.name != new], []
    moment = in_seconds(cluster.clock, overlap_seconds)
    for secret in old:
        _retire(cluster, secret, moment)
    for secret in doomed:
        cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid)
    return Rotated(
        name=name,
        secret_name=new,
        door=handover.door,
        retired=tuple(secret.name for secret in old),
        retire_after=moment if old else "",
        deleted=tuple(secret.name for secret in doomed),
        uids=tuple(secret.uid for secret in doomed),
    )


def _new_and_old(
    cluster: Cluster, account: Account, alive: Sequence[TokenSecret]
) -> tuple[str, list[TokenSecret]]:
    """The Secret to hand over, made if it is not there yet, and those that it replaces."""
    name = account.name
    if account.has_ended(cluster.clock):
        raise EndedError(
            f"identity {name} has ended: its deadline was {account.annotations[labels.DEADLINE]}",
            command("identity", "create", name.name, "-n", name.namespace, "--expires", "90d"),
        )
    latest = current(alive)
    if latest is None:
        raise EndedError(
            f"identity {name} has no live token: it was revoked, or is federated",
            "to let it in again: "
            + command("identity", "create", name.name, "-n", name.namespace)
            + "\na federated one has nothing to rotate",
        )
    if is_unfinished(latest, alive):
        return latest.name, [each for each in alive if each is not latest]
    new = new_secret_name(name.name)
    cluster.apply(token_secret(name.namespace, name.name, new, replaces=latest.name))
    return new, list(alive)


def _is_over(cluster: Cluster, secret: TokenSecret) -> bool:
    return is_past(secret.retire_after, cluster.clock)


def _retire(cluster: Cluster, secret: TokenSecret, moment: str) -> None:
    change = {"metadata": {"uid": secret.uid, "annotations": {labels.RETIRE_AFTER: moment}}}
    try:
        cluster.patch(SECRETS, secret.name, change, secret.account.namespace)
    except NotFoundError:
        return  # somebody else has ended it


THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMember:
    """An identity that is to be rotated, with its Secrets."""

    account: Account
    secrets: tuple[TokenSecret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOutcome:
    """What became of one of them: `rotated` and the `file`, or the `error`."""

    name: IdentityName
    file: str
    rotated: Rotated | None = None
    error: DaypassError | None = None


def find_members(
    cluster: Cluster, namespace: str | None, *, older_than_seconds: int = 0
) -> list[FleetMember]:
    """The identities whose live token is at least so old; not those that are revoked or ended."""
    accounts = cluster.list(SERVICE_ACCOUNTS, namespace, labels=labels.SELECTOR, metadata_only=True)
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
            members.append(FleetMember(account=account, secrets=tuple(secrets)))
    return sorted(members, key=lambda member: member.account.name)


def rotate_all(
    cluster: Cluster, members: Sequence[FleetMember], folder: str, *, overlap_seconds: int
) -> Iterator[RotationOutcome]:
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


def _rotate_one(
    cluster: Cluster, member: FleetMember, folder: str, overlap_seconds: int
) -> RotationOutcome:
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
        return RotationOutcome(name=name, file=path, error=error)
    return RotationOutcome(name=name, file=path, rotated=rotated)
