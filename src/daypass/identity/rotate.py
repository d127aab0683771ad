"""Rotation: a new long-lived token, handed over before the old one goes.

New Secret, credentials file, and only then an end to the old Secret: at no moment is there an
identity whose credentials file does not work. A rotation that broke off goes on with the Secret
that it has made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daypass._core.hints import command
from daypass._core.secret import Secret
from daypass.identity import marks
from daypass.identity.account import Account, EndedError
from daypass.identity.deadlines import in_seconds, is_past
from daypass.identity.handover import Handover
from daypass.identity.manifests import new_secret_name, token_secret
from daypass.identity.naming import IdentityName
from daypass.identity.tokens import TokenSecret, current, is_unfinished, live, wait_for_token
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import SECRETS

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
    handover = Handover.of(account)
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
            f"identity {name} has ended: its deadline was {account.annotations[marks.DEADLINE]}",
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
    change = {"metadata": {"uid": secret.uid, "annotations": {marks.RETIRE_AFTER: moment}}}
    try:
        cluster.patch(SECRETS, secret.name, change, secret.account.namespace)
    except NotFoundError:
        return  # somebody else has ended it
