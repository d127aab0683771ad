"""Rotation: deliver new credentials before the old ones are retired.

A rotation creates a new Secret, waits until gates know it, delivers its credentials file, and only
then retires the old Secret, so that the client always has a credentials file that works. After an
interruption, the next run continues with the Secret that exists.

Many identities are rotated in parallel; one failure does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from daypass._core.clock import age_seconds, deadline_unix, rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import name_of
from daypass._core.threads import in_parallel
from daypass.identity.accounts import Account, IdentityName, InactiveIdentityError, list_identities
from daypass.identity.create import federated_users
from daypass.identity.credential_secrets import (
    CredentialSecret,
    FilledSecret,
    Room,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
    our_secrets,
    wait_for_token,
)
from daypass.identity.credentials_file import CredentialsSettings
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import SECRETS

THREADS = 8


@dataclass(slots=True, kw_only=True)
class Rotation:
    """The rotation of an identity, and how far it is. `secrets`: all that are part of it.

    `filled`: the new Secret, None in a dry run. The Secrets `retired` may be deleted from
    `retire_after` on; those `deleted` are. `error`: why it has failed.
    """

    account: Account
    secrets: Sequence[CredentialSecret]
    secret_name: str = ""
    filled: FilledSecret | None = None
    retired: Sequence[CredentialSecret] = ()
    retire_after: str = ""
    deleted: Sequence[CredentialSecret] = ()
    error: DaypassError | None = None

    @property
    def name(self) -> IdentityName:
        return self.account.name

    @property
    def credentials(self) -> CredentialsSettings:
        """The fields of its credentials except the token. Raises IncompleteCredentialsError."""
        return CredentialsSettings.of(self.account)


def find_rotations(
    cluster: Cluster, namespace: str | None, *, older_than_seconds: int = 0
) -> list[Rotation]:
    """Return rotations of the active identities whose live token has this age or more, or whose
    rotation is unfinished. Anchors alone stay: they hold nothing that could leak.
    """
    by_account: dict[IdentityName, list[CredentialSecret]] = {}
    for secret in our_secrets(cluster, namespace):
        by_account.setdefault(secret.account, []).append(secret)
    found = []
    for account in list_identities(cluster, namespace):
        secrets = by_account.get(account.name, [])
        live = live_secrets(secrets, account.uid)
        current = current_secret(live)
        if current is None or account.has_expired(cluster.clock.unix()):
            continue
        if all(secret.is_anchor for secret in live):
            continue
        is_old = age_seconds(current.created, cluster.clock) >= older_than_seconds
        if is_old or is_rotation_unfinished(current, live):
            found.append(Rotation(account=account, secrets=secrets))
    return sorted(found, key=lambda rotation: rotation.name)


def rotate(
    cluster: Cluster,
    rotations: Sequence[Rotation],
    *,
    deliver: Callable[[IdentityName, bytes], None],
    overlap_seconds: int,
    check: Callable[[IdentityName], object] = lambda name: None,
    wait: Callable[[Sequence[str]], object] = lambda uids: None,
) -> None:
    """Give identities new credentials: create all, wait once, hand over all.

    `check` fails if the credentials file can't be delivered. `wait` gets the UIDs of the new
    Secrets, and returns once gates know them. `deliver` gets a credentials file, and returns once
    it is stored; a dry run has none. Without an overlap, the old Secrets are deleted at once. A
    DaypassError becomes the `error` of its rotation: InactiveIdentityError,
    IncompleteCredentialsError, NoRoomError, NotReadyError (no token in time), and those of `check`
    and `deliver`.
    """
    namespaces = {rotation.name.namespace for rotation in rotations}
    room = Room(cluster, namespaces.pop() if len(namespaces) == 1 else None)
    _for_each(rotations, lambda each: _start(cluster, each, room, check))
    wait([each.filled.secret.uid for each in rotations if each.filled is not None])
    started = [each for each in rotations if each.error is None]
    finish = partial(_finish, cluster, deliver=deliver, overlap_seconds=overlap_seconds)
    _for_each(started, finish)


def _start(
    cluster: Cluster, rotation: Rotation, room: Room, check: Callable[[IdentityName], object]
) -> None:
    """Create the new Secret, or continue with that of an interrupted rotation."""
    account, name = rotation.account, rotation.name
    live = live_secrets(rotation.secrets, account.uid)
    current = _current(cluster, account, live)
    CredentialsSettings.of(account)  # fails before anything is created
    check(name)
    if is_rotation_unfinished(current, live):
        rotation.secret_name = current.name
    else:
        successor = current.successor(account.uid)
        rotation.secret_name = name_of(successor)
        room.take(name.namespace)
        cluster.apply(successor)
    if not cluster.dry_run:
        rotation.filled = wait_for_token(cluster, name, rotation.secret_name)


def _finish(
    cluster: Cluster,
    rotation: Rotation,
    *,
    deliver: Callable[[IdentityName, bytes], None],
    overlap_seconds: int,
) -> None:
    """Deliver the new credentials, and then retire the old ones, or delete them."""
    name, clock = rotation.name, cluster.clock
    if rotation.filled is not None:
        deliver(name, rotation.credentials.file_content(rotation.filled))
    others = [each for each in rotation.secrets if each.name != rotation.secret_name]
    retired = live_secrets(others, rotation.account.uid) if overlap_seconds else []
    rotation.retired = retired
    rotation.retire_after = rfc3339(utc(cluster.server_unix() + overlap_seconds)) if retired else ""
    rotation.deleted = [
        each
        for each in others
        if not overlap_seconds or deadline_unix(each.retire_after) <= clock.unix()
    ]
    for secret in retired:
        annotations = {labels.RETIRE_AFTER: rotation.retire_after}
        change = {"metadata": {"uid": secret.uid, "annotations": annotations}}
        with suppress(NotFoundError):  # deleted in the meantime
            cluster.patch(SECRETS, secret.name, change, name.namespace)
    for secret in rotation.deleted:
        cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid)


def _current(
    cluster: Cluster, account: Account, live: Sequence[CredentialSecret]
) -> CredentialSecret:
    """Return the live Secret to replace. Raises InactiveIdentityError."""
    name = account.name
    current = current_secret(live)
    fact, options = "has no live token: it was revoked", []
    if account.has_expired(cluster.clock.unix()):
        fact = f"has expired: its deadline was {account.annotations[labels.DEADLINE]}"
        options = ["--expires", "90d"]
    elif current is not None:
        return current
    again = command("identity", "create", name.name, "-n", name.namespace, *options)
    with suppress(ForbiddenError):
        if federated_users(cluster, name) is not None:
            again = command("identity", "federate", "--help")
    raise InactiveIdentityError(f"identity {name} {fact}", again)


def _for_each(rotations: Sequence[Rotation], do: Callable[[Rotation], object]) -> None:
    """Do it for each, several at a time, and note its error."""

    def attempt(rotation: Rotation) -> None:
        try:
            do(rotation)
        except DaypassError as error:
            rotation.error = error

    in_parallel(attempt, rotations, threads=THREADS)
