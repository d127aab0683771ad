"""Creating an identity, or repairing one.

The API server first checks all objects (`dryRun=All`), so that a refusal leaves nothing behind.
Everything is applied as desired state, and the Secret comes last. After an interruption, the same
command completes the identity, with the Secret that it has already created, if any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from daypass._core import labels
from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass._core.objects import Object, name_of
from daypass._core.secret import Secret
from daypass.identity.credential_secrets import (
    Room,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
    secrets_of,
    wait_for_token,
)
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import (
    Account,
    IdentityName,
    InactiveIdentityError,
    Warn,
    identity_objects,
    is_past,
    new_secret_name,
    refuse_foreign,
)
from daypass.identity.namespaces import prepare_namespace
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError

NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySpec:
    """The desired identity. `deadline`: RFC 3339, NEVER, or None to leave it unchanged.

    `watcher_namespace`: where the gate's watcher runs, if the config names it.
    """

    name: IdentityName
    credentials: CredentialsSettings
    deadline: str | None = None
    adopt: bool = False
    watcher_namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedIdentity:
    """An identity and its current token. `is_new`: whether this run created the Secret."""

    name: IdentityName
    secret_name: str
    secret_uid: str
    is_new: bool
    token: Secret = field(repr=False)


def create(
    cluster: Cluster,
    account: Account | None,
    spec: IdentitySpec,
    *,
    warn: Warn,
) -> CreatedIdentity:
    """Create an identity, or repair the one that exists. `account`: what has its name now.

    Raises ForeignAccountError, InactiveIdentityError, NoRoomError, NotFoundError (the namespace),
    NotReadyError (no token in time), ApiError.
    """
    name = spec.name
    reused = reusable_secret(cluster, account, warn, is_anchor=False)
    documents = plan(spec, account, reused, clock=cluster.clock)
    secret_name = name_of(documents[-1])
    if reused:
        documents.pop()
    else:
        Room(cluster, name.namespace).take(name.namespace)
    dry_run(cluster, documents)
    prepare_namespace(cluster, name.namespace, warn, watcher_namespace=spec.watcher_namespace)
    for document in documents:
        cluster.apply(document)
    filled = wait_for_token(cluster, name, secret_name)
    return CreatedIdentity(
        name=name,
        secret_name=secret_name,
        secret_uid=filled.secret.uid,
        is_new=reused is None,
        token=filled.token,
    )


def dry_run(cluster: Cluster, documents: Sequence[Object]) -> list[Object]:
    """Return an identity's objects as the API server would store them. Raises ApiError.

    In a dry run by the client, they are returned unchanged. A Secret is without its data: that of
    an existing one would have its token.
    """
    if cluster.dry_run == "client":
        return list(documents)
    checked = []
    for document in documents:
        try:
            stored = cluster.apply(document, dry_run=True)
            if stored["kind"] == "Secret":
                stored.pop("data", None)
            checked.append(stored)
        except NotFoundError:
            # For a user who may not bind any role, the API server reads the Role, which a dry run
            # has not created (k8s.io/kubernetes/pkg/registry/rbac/rolebinding/policybased).
            if document["kind"] != "RoleBinding":
                raise
            checked.append(document)
    return checked


def plan(
    spec: IdentitySpec, account: Account | None, secret_name: str | None, *, clock: Clock
) -> list[Object]:
    """Return an identity's objects, the Secret last: with this name, or (None) a new one."""
    name = spec.name
    annotations = _account_annotations(spec, account, clock)
    secret_name = secret_name or new_secret_name(name.name)
    return identity_objects(name.namespace, name.name, secret_name, annotations)


def _account_annotations(
    spec: IdentitySpec, account: Account | None, clock: Clock
) -> dict[str, str]:
    refuse_foreign(account, adopt=spec.adopt)
    annotations = spec.credentials.annotations()
    if account is not None and (account.is_adopted or not account.is_ours):
        annotations[labels.ADOPTED] = "true"
    deadline = spec.deadline
    if deadline is None and account is not None and account.is_ours:
        deadline = account.annotations.get(labels.DEADLINE)
        if is_past(deadline, clock):
            raise InactiveIdentityError(
                f"identity {spec.name} has expired: its deadline was {deadline}",
                "set another one, such as --expires 90d, or --expires never",
            )
    if deadline and deadline != NEVER:
        annotations[labels.DEADLINE] = deadline
    return annotations


def reusable_secret(
    cluster: Cluster, account: Account | None, warn: Warn, *, is_anchor: bool
) -> str | None:
    """Return the name of an identity's live token Secret or anchor, or None.

    Warns if it has several live Secrets.
    """
    if account is None:
        return None
    live = live_secrets(secrets_of(cluster, account.name), account.uid)
    current = current_secret([each for each in live if each.is_anchor is is_anchor])
    if current is not None and len(live) > 1:
        others = ", ".join(sorted(each.name for each in live if each is not current))
        unfinished = is_rotation_unfinished(current, live)
        what = "its rotation is unfinished" if unfinished else "it has several tokens"
        name = account.name
        warn(
            f"{what}: {others} is live, too",
            command("identity", "rotate", name.name, "-n", name.namespace),
        )
    return None if current is None else current.name
