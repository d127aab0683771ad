"""An identity without a long-lived token, for users whose tokens another issuer signs.

It has the objects that `create` makes, with an anchor in place of the token Secret, and the
RoleBinding names the issuer's users instead of the ServiceAccount. The API server accepts their
tokens by its own configuration (`daypass.render.authentication_config`), a file on the control
plane that no API can change.
"""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core import labels
from daypass.identity.create import dry_run, reusable_secret
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import (
    RBAC_GROUP,
    Account,
    IdentityName,
    Warn,
    anchor_secret,
    federated_binding_name,
    identity_objects,
    new_secret_name,
    refuse_foreign,
)
from daypass.identity.namespaces import prepare_namespace
from daypass.identity.tokens import Anchor, FilledSecret, Room, read_anchor
from daypass.kube.cluster import Cluster
from daypass.kube.resources import ROLE_BINDINGS, Object, name_of, uid_of
from daypass.render.authentication_config import TrustedIssuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """An identity, the issuer's users, and where a client finds its own token (`source`, of the
    form of `parse_source`).

    `watcher_namespace`: where the gate's watcher runs, if the config names it.
    """

    name: IdentityName
    credentials: CredentialsSettings
    trusted: TrustedIssuer
    source: str
    watcher_namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedIdentity:
    """An identity with its anchor, None in a dry run. `users_before`: those of an earlier run."""

    users_before: list[str]
    anchor: FilledSecret[Anchor] | None


def federated_objects(federation: Federation, account: Account | None) -> list[Object]:
    """Return ServiceAccount, Role and RoleBinding, in the order to create them.

    `account`: the ServiceAccount that has the name now; its annotations are kept.
    """
    name = federation.name
    before = account.annotations if account is not None else {}
    annotations = {key: value for key, value in before.items() if key.startswith(labels.DOMAIN)}
    if account is not None and not account.is_ours:
        annotations[labels.ADOPTED] = "true"
    annotations |= federation.credentials.annotations()
    service_account, role, binding, _ = identity_objects(name.namespace, name.name, "", annotations)
    binding["metadata"]["name"] = federated_binding_name(name.name)
    binding["subjects"] = [
        {"kind": "User", "apiGroup": RBAC_GROUP, "name": user} for user in federation.trusted.users
    ]
    return [service_account, role, binding]


def federate(
    cluster: Cluster, federation: Federation, account: Account | None, *, adopt: bool, warn: Warn
) -> FederatedIdentity:
    """Create it, or change its users. An anchor that it has is kept.

    Raises ForeignAccountError, NoRoomError, ApiError.
    """
    name, source = federation.name, federation.source
    refuse_foreign(account, adopt=adopt)
    reused = reusable_secret(cluster, account, warn, is_anchor=True)
    anchor_name = reused or new_secret_name(name.name, labels.ANCHOR_INFIX)
    if reused is None:
        Room(cluster, name.namespace).take(name.namespace)
    documents = federated_objects(federation, account)
    dry_run(cluster, [*documents, anchor_secret(name, anchor_name, account_uid="", source=source)])
    before = cluster.find(ROLE_BINDINGS, name_of(documents[-1]), name.namespace) or {}
    prepare_namespace(cluster, name.namespace, warn, watcher_namespace=federation.watcher_namespace)
    anchor = None
    if not cluster.dry_run:
        uid, *_ = [uid_of(cluster.apply(document)) for document in documents]
        document = anchor_secret(name, anchor_name, account_uid=uid, source=source)
        anchor = read_anchor(cluster.apply(document))
    users = [subject["name"] for subject in before.get("subjects") or ()]
    return FederatedIdentity(users_before=users, anchor=anchor)
