"""Rotation: deliver a new long-lived token before the old one is retired.

A rotation creates a new Secret, waits until gates know it, delivers its credentials file, and only
then retires the old Secret, so that the client always has a credentials file that works. After an
interruption, the next run continues with the Secret that exists.

`rotate_all` rotates many identities in parallel; one failure does not stop the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

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
    FilledSecret,
    Room,
    TokenSecret,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
    our_token_secrets,
    wait_for_token,
)
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.gates import find_room
from daypass.kube.resources import SECRETS

DEFAULT_OVERLAP_SECONDS = 86_400
THREADS = 8

T = TypeVar("T")
R = TypeVar("R")


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
class StartedRotation:
    """A rotation whose new Secret exists: nothing is handed over or retired yet.

    `filled`: the new Secret with its token; None in a dry run. `replaced`: those to retire.
    """

    target: RotationTarget
    secret_name: str
    settings: CredentialsSettings
    replaced: tuple[TokenSecret, ...]
    filled: FilledSecret | None


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
    wait: Callable[[Sequence[str]], object] = lambda uids: None,
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
) -> Rotation:
    """Give an identity a new long-lived token. `secrets`: all Secrets that are part of it.

    `wait` gets the UID of the new Secret, and returns once gates know it. `deliver` gets the
    credentials file, and returns once it is stored; a dry run has none. Without an overlap, the old
    Secrets are deleted at once. Raises the errors of `start_rotation`.
    """
    target = RotationTarget(account=account, secrets=tuple(secrets))
    namespace, limit = account.name.namespace, find_room(cluster)
    room = Room(limit, [] if limit is None else our_token_secrets(cluster, namespace))
    started = start_rotation(cluster, target, room=room)
    if started.filled is not None:
        wait([started.filled.uid])
    return finish_rotation(cluster, started, deliver=deliver, overlap_seconds=overlap_seconds)


def start_rotation(cluster: Cluster, target: RotationTarget, *, room: Room) -> StartedRotation:
    """Give an identity a new Secret, or continue with that of an interrupted rotation.

    Raises InactiveIdentityError, IncompleteCredentialsError, NoRoomError, NotReadyError (no token
    in time).
    """
    account, name = target.account, target.account.name
    settings = CredentialsSettings.of(account)
    live = live_secrets(target.secrets, account.uid)
    current = _current(cluster, account, live)
    if is_rotation_unfinished(current, live):
        new, replaced = current.name, [each for each in live if each is not current]
    else:
        new, replaced = new_secret_name(name.name), live
        room.take(name.namespace)
        cluster.apply(token_secret(name.namespace, name.name, new, replaces=current.name))
    filled = None if cluster.dry_run else wait_for_token(cluster, name, new)
    return StartedRotation(
        target=target, secret_name=new, settings=settings, replaced=tuple(replaced), filled=filled
    )


def finish_rotation(
    cluster: Cluster,
    started: StartedRotation,
    *,
    deliver: Callable[[bytes], None],
    overlap_seconds: int,
) -> Rotation:
    """Deliver the new credentials, and then retire the old ones, or delete them."""
    if started.filled is not None:
        deliver(started.settings.file_content(started.filled.token))
    name, clock = started.target.account.name, cluster.clock
    others = [each for each in started.target.secrets if each.name != started.secret_name]
    expired = [each for each in others if is_past(each.retire_after, clock)]
    retired = started.replaced
    if overlap_seconds == 0:
        expired, retired = others, ()
    retire_after = time_in(clock, overlap_seconds)
    for secret in retired:
        _retire(cluster, secret, retire_after)
    for secret in expired:
        cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid)
    return Rotation(
        name=name,
        secret_name=started.secret_name,
        door=started.settings.door,
        retired=tuple(secret.name for secret in retired),
        retire_after=retire_after if retired else "",
        deleted=tuple(secret.name for secret in expired),
        uids=tuple(secret.uid for secret in expired),
    )


def _current(cluster: Cluster, account: Account, live: Sequence[TokenSecret]) -> TokenSecret:
    """Return the live Secret to replace. Raises InactiveIdentityError."""
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
    return current


def _retire(cluster: Cluster, secret: TokenSecret, retire_after: str) -> None:
    change = {"metadata": {"uid": secret.uid, "annotations": {labels.RETIRE_AFTER: retire_after}}}
    try:
        cluster.patch(SECRETS, secret.name, change, secret.account.namespace)
    except NotFoundError:
        return  # deleted in the meantime


def find_targets(
    cluster: Cluster, namespace: str | None, *, older_than_seconds: int = 0
) -> tuple[list[RotationTarget], Room]:
    """Return the active identities whose live token has this age or more, or whose rotation is
    unfinished; and the room for new tokens.
    """
    accounts = list_identities(cluster, namespace)
    found = our_token_secrets(cluster, namespace)
    by_account: dict[IdentityName, list[TokenSecret]] = {}
    for secret in found:
        by_account.setdefault(secret.account, []).append(secret)
    targets = []
    for account in accounts:
        secrets = by_account.get(account.name, [])
        live = live_secrets(secrets, account.uid)
        current = current_secret(live)
        if current is None or account.has_expired(cluster.clock):
            continue
        is_old = age_seconds(current.created, cluster.clock) >= older_than_seconds
        if is_old or is_rotation_unfinished(current, live):
            targets.append(RotationTarget(account=account, secrets=tuple(secrets)))
    targets.sort(key=lambda target: target.account.name)
    return targets, Room(find_room(cluster), found)


def rotate_all(
    cluster: Cluster,
    targets: Sequence[RotationTarget],
    folder: str,
    *,
    room: Room,
    wait: Callable[[Sequence[str]], object] = lambda uids: None,
    show: Callable[[str], object] = lambda text: None,
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
) -> list[RotationOutcome]:
    """Rotate in parallel, and write `folder/NAMESPACE/NAME.json`: create all, wait, hand over all.

    `room`: for new Secrets. `wait` gets their UIDs, and returns once the gate knows them. `show`
    gets what is going on. Raises UsageError if the folder can't be created.
    """
    _make_folders(cluster, targets, folder)

    def file_of(target: RotationTarget) -> str:
        name = target.account.name
        return os.path.join(folder, name.namespace, f"{name.name}.json")

    def start(target: RotationTarget) -> StartedRotation:
        path = file_of(target)
        if not cluster.dry_run or os.path.isdir(os.path.dirname(path)):
            check_file(path, target.account.name, now_unix=cluster.clock.unix())
        return start_rotation(cluster, target, room=room)

    def finish(started: StartedRotation) -> Rotation:
        path = file_of(started.target)
        return finish_rotation(
            cluster,
            started,
            deliver=lambda content: write_file(path, content),
            overlap_seconds=overlap_seconds,
        )

    begun = _in_parallel(start, targets, lambda number: show(f"created {number} of {len(targets)}"))
    started = [each for each in begun if isinstance(each, StartedRotation)]
    wait([each.filled.uid for each in started if each.filled is not None])
    ended = iter(_in_parallel(finish, started, lambda number: show(f"handed over {number}")))
    results = [each if isinstance(each, DaypassError) else next(ended) for each in begun]
    return [
        RotationOutcome(
            name=target.account.name,
            file=file_of(target),
            rotated=result if isinstance(result, Rotation) else None,
            error=result if isinstance(result, DaypassError) else None,
        )
        for target, result in zip(targets, results, strict=True)
    ]


def _make_folders(cluster: Cluster, targets: Sequence[RotationTarget], folder: str) -> None:
    namespaces = {target.account.name.namespace for target in targets}
    try:
        for namespace in () if cluster.dry_run else sorted(namespaces):
            make_private_folder(os.path.join(folder, namespace))
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be written to: {error.strerror}",
            "name another: --credentials-out DIR",
        ) from None


def _in_parallel(
    do: Callable[[T], R], each_of: Sequence[T], done: Callable[[int], object]
) -> list[R | DaypassError]:
    """Return the result or the error for each; `done` gets how many are done."""

    def attempt(one: T) -> R | DaypassError:
        try:
            return do(one)
        except DaypassError as error:
            return error

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="daypass-rotate")
    try:
        tasks = [pool.submit(attempt, each) for each in each_of]
        for number, _ in enumerate(as_completed(tasks), start=1):
            done(number)
        return [task.result() for task in tasks]
    finally:
        pool.shutdown(cancel_futures=True)
