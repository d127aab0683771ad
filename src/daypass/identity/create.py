"""Making an identity, or making sure that it is as it should be.

The API server tries all of it first (`dryRun=All`): what it refuses is made in no part. Every step
says what is to be, not what is to be done, and the Secret comes last: a run that broke off anywhere
is finished by the same run again, with the Secret that it has made, if it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from daypass._core import labels
from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.secret import Secret
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import (
    Account,
    EndedError,
    IdentityName,
    identity_objects,
    is_past,
    new_secret_name,
    refuse_foreign,
)
from daypass.identity.namespaces import hold_to_policy, let_watch
from daypass.identity.tokens import current, is_unfinished, live, token_secrets, wait_for_token
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import Object, name_of

Warn = Callable[[str, str], None]
NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySpec:
    """What an identity is to be. `deadline`: RFC 3339, NEVER, or None to leave it as it is.

    `watch_home`: the namespace of the watch of a gate, where the config names one.
    """

    name: IdentityName
    handover: CredentialsSettings
    deadline: str | None = None
    adopt: bool = False
    watch_home: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """An identity as it is now. `is_new`: whether its Secret was made just now."""

    name: IdentityName
    secret_name: str
    is_new: bool
    token: Secret = field(repr=False)


def create(cluster: Cluster, account: Account | None, wish: IdentitySpec, *, warn: Warn) -> Created:
    """Make an identity, or finish or mend one. `account`: what is there of that name.

    Raises ForeignAccountError, EndedError, NotFoundError (the namespace), ApiError.
    """
    name = wish.name
    found = reusable_secret(cluster, account, warn)
    documents = plan(wish, account, found, clock=cluster.clock)
    documents, secret_name = documents[:-1] if found else documents, name_of(documents[-1])
    try_out(cluster, documents)
    let_watch(cluster, name.namespace, wish.watch_home, warn)
    hold_to_policy(cluster, name.namespace, warn)
    for document in documents:
        cluster.apply(document)
    token = wait_for_token(cluster, name.namespace, secret_name)
    return Created(name=name, secret_name=secret_name, is_new=found is None, token=token)


def try_out(cluster: Cluster, documents: Sequence[Object]) -> list[Object]:
    """What the API server would make of an identity's objects; it makes none. Raises ApiError."""
    tried = []
    for document in documents:
        try:
            tried.append(cluster.apply(document, dry_run=True))
        except NotFoundError:
            # Who may not bind just anything is compared with the Role, which is not made yet
            # (k8s.io/kubernetes/pkg/registry/rbac/rolebinding/policybased).
            if document["kind"] != "RoleBinding":
                raise
            tried.append(document)
    return tried


def plan(
    wish: IdentitySpec, account: Account | None, secret_name: str | None, *, clock: Clock
) -> list[Object]:
    """The objects of an identity, the Secret last: the live one, or (None) one of a new name."""
    name = wish.name
    annotations = _annotations(wish, account, clock)
    secret_name = secret_name or new_secret_name(name.name)
    return identity_objects(name.namespace, name.name, secret_name, annotations)


def _annotations(wish: IdentitySpec, account: Account | None, clock: Clock) -> dict[str, str]:
    """The marks of the ServiceAccount: what is wished, and what is to stay as it is."""
    refuse_foreign(account, adopt=wish.adopt)
    annotations = wish.handover.annotations()
    if account is not None and (account.is_adopted or not account.is_ours):
        annotations[labels.ADOPTED] = "true"
    deadline = wish.deadline
    if deadline is None and account is not None and account.is_ours:
        deadline = account.annotations.get(labels.DEADLINE)
        if is_past(deadline, clock):
            raise EndedError(
                f"identity {wish.name} has ended: its deadline was {deadline}",
                "give it another one, such as --expires 90d, or --expires never",
            )
    if deadline and deadline != NEVER:
        annotations[labels.DEADLINE] = deadline
    return annotations


def reusable_secret(cluster: Cluster, account: Account | None, warn: Warn) -> str | None:
    """The live Secret of an identity that is there, by its name; None where it has none."""
    if account is None:
        return None
    alive = live(token_secrets(cluster, account.name), account.uid)
    found = current(alive)
    if found is not None and len(alive) > 1:
        others = ", ".join(sorted(each.name for each in alive if each is not found))
        what = "a rotation of it was not finished" if is_unfinished(found, alive) else "it has more"
        name = account.name
        warn(
            f"{what}: {others} is live, too",
            command("identity", "rotate", name.name, "-n", name.namespace),
        )
    return None if found is None else found.name
