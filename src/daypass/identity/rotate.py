"""Rotation: deliver a new long-lived token before the old one is retired.

A rotation creates a new Secret, delivers its credentials file, and only then retires the old
Secret, so that the client always has a credentials file that works. After an interruption, the next
run continues with the Secret that exists.

`rotate_all` rotates many identities in parallel; one failure does not stop the others.
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
from daypass.identity.credentials_file import CredentialsSettings, check_file, write_file
from daypass.identity.model import (
    Account,
    IdentityName,
    InactiveIdentityError,
    age_seconds,
    is_past,
    list_identities,
    new_secret_name,
    time_in,
    token_secret,
)
from daypass.identity.tokens import (
    WAIT_SECONDS,
    TokenSecret,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
    our_token_secrets,
    wait_for_token,
)
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import SECRETS

DEFAULT_OVERLAP_SECONDS = 86_400
THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The result of a rotation.

    The Secrets `retired` may be deleted from `retire_after` on; those `deleted` (with `uids`) are.
    """

    name: IdentityName
    secret_name: str
    door: str
    retired: tuple[str, ...]
    retire_after: str
    deleted: tuple[str, ...]
    uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTarget:
    """An identity to rotate, with its Secrets."""

    account: Account
    secrets: tuple[TokenSecret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOutcome:
    """The result for one identity of many: `rotated` and the credentials `file`, or `error`."""

    name: IdentityName
    file: str
    rotated: Rotation | None = None
    error: DaypassError | None = None


def rotate(
    cluster: Cluster,
    account: Account,
    secrets: Sequence[TokenSecret],
    *,
    deliver: Callable[[bytes], None],
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
) -> Rotation:
    """Give an identity a new long-lived token. `secrets`: all Secrets that are part of it.

    `deliver` gets the credentials file, and returns once it is stored; a dry run has none. Without
    an overlap, the old Secrets are deleted at once. Raises InactiveIdentityError,
    IncompleteCredentialsError, NotReadyError (no token within `wait_seconds`).
    """
    settings = CredentialsSettings.of(account)
    name, clock = account.name, cluster.clock
    new, old = _new_and_old(cluster, account, live_secrets(secrets, account.uid))
    if not cluster.dry_run:
        token = wait_for_token(cluster, name, new, wait_seconds)
        deliver(settings.file_content(token))
    expired = [each for each in secrets if each.name != new and is_past(each.retire_after, clock)]
    if overlap_seconds == 0:
        expired, old = [each for each in secrets if each.name != new], []
    retire_after = time_in(clock, overlap_seconds)
    for secret in old:
        _retire(cluster, secret, retire_after)
    for secret in expired:
        cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid)
    return Rotation(
        name=name,
        secret_name=new,
        door=settings.door,
        retired=tuple(secret.name for secret in old),
        retire_after=retire_after if old else "",
        deleted=tuple(secret.name for secret in expired),
        uids=tuple(secret.uid for secret in expired),
    )


def _new_and_old(
    cluster: Cluster, account: Account, live: Sequence[TokenSecret]
) -> tuple[str, list[TokenSecret]]:
    """Return the name of the new Secret, created if need be, and the Secrets that it replaces."""
    name = account.name
    if account.has_expired(cluster.clock):
        raise InactiveIdentityError(
            f"identity {name} has expired: its deadline was {account.annotations[labels.DEADLINE]}",
            command("identity", "create", name.name, "-n", name.namespace, "--expires", "90d"),
        )
    current = current_secret(live)
    if current is None:
        raise InactiveIdentityError(
            f"identity {name} has no live token: it was revoked, or is federated",
            "after a revocation: "
            + command("identity", "create", name.name, "-n", name.namespace)
            + "\na federated identity has no token to rotate",
        )
    if is_rotation_unfinished(current, live):
        return current.name, [each for each in live if each is not current]
    new = new_secret_name(name.name)
    cluster.apply(token_secret(name.namespace, name.name, new, replaces=current.name))
    return new, list(live)


def _retire(cluster: Cluster, secret: TokenSecret, retire_after: str) -> None:
    change = {"metadata": {"uid": secret.uid, "annotations": {labels.RETIRE_AFTER: retire_after}}}
    try:
        cluster.patch(SECRETS, secret.name, change, secret.account.namespace)
    except NotFoundError:
        return  # deleted in the meantime


def find_targets(
    cluster: Cluster, namespace: str | None, *, older_than_seconds: int = 0
) -> list[RotationTarget]:
    """Return the active identities whose live token has at least this age."""
    accounts = list_identities(cluster, namespace)
    by_account: dict[IdentityName, list[TokenSecret]] = {}
    for secret in our_token_secrets(cluster, namespace):
        by_account.setdefault(secret.account, []).append(secret)
    targets = []
    for account in accounts:
        secrets = by_account.get(account.name, [])
        current = current_secret(live_secrets(secrets, account.uid))
        if (
            current is not None
            and not account.has_expired(cluster.clock)
            and age_seconds(current.created, cluster.clock) >= older_than_seconds
        ):
            targets.append(RotationTarget(account=account, secrets=tuple(secrets)))
    return sorted(targets, key=lambda target: target.account.name)


def rotate_all(
    cluster: Cluster,
    targets: Sequence[RotationTarget],
    folder: str,
    *,
    overlap_seconds: int,
    wait_seconds: float,
) -> Iterator[RotationOutcome]:
    """Rotate in parallel, write `folder/NAMESPACE/NAME.json`, and yield outcomes as they come.

    Raises UsageError if the folder can't be created.
    """
    namespaces = {target.account.name.namespace for target in targets}
    try:
        for namespace in () if cluster.dry_run else sorted(namespaces):
            make_private_folder(os.path.join(folder, namespace))
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be written to: {error.strerror}",
            "name another: --credentials-out DIR",
        ) from None
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="daypass-rotate")
    try:
        tasks = [
            pool.submit(_rotate_one, cluster, each, folder, overlap_seconds, wait_seconds)
            for each in targets
        ]
        yield from (task.result() for task in as_completed(tasks))
    finally:
        pool.shutdown(cancel_futures=True)


def _rotate_one(
    cluster: Cluster,
    target: RotationTarget,
    folder: str,
    overlap_seconds: int,
    wait_seconds: float,
) -> RotationOutcome:
    name = target.account.name
    path = os.path.join(folder, name.namespace, f"{name.name}.json")
    try:
        if not cluster.dry_run or os.path.isdir(os.path.dirname(path)):
            check_file(path, name, now_unix=cluster.clock.unix())
        rotated = rotate(
            cluster,
            target.account,
            target.secrets,
            deliver=lambda content: write_file(path, content),
            overlap_seconds=overlap_seconds,
            wait_seconds=wait_seconds,
        )
    except DaypassError as error:
        return RotationOutcome(name=name, file=path, error=error)
    return RotationOutcome(name=name, file=path, rotated=rotated)
