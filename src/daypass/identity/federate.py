"""An identity without a long-lived token, for users whose tokens another issuer signs.

It has the objects that `create` makes, with an anchor in place of the token Secret, and the
RoleBinding names the issuer's users instead of the ServiceAccount. The API server accepts their
tokens by its own configuration (`daypass.render.authentication_config`), a file on the control
plane that no API can change.
"""

from __future__ import annotations

from collections.abc import Sequence

from daypass._core import labels
from daypass._core.objects import name_of, uid_of
from daypass.identity.create import IdentitySpec, dry_run, reusable_secret
from daypass.identity.credential_secrets import CredentialSecret, FilledSecret, Room
from daypass.identity.model import (
    RBAC_GROUP,
    Account,
    Warn,
    anchor_secret,
    federated_binding_name,
    identity_objects,
    new_secret_name,
    refuse_foreign,
)
from daypass.identity.namespaces import prepare_namespace
from daypass.kube.cluster import Cluster
from daypass.kube.resources import ROLE_BINDINGS


def federate(
    cluster: Cluster,
    spec: IdentitySpec,
    account: Account | None,
    *,
    users: Sequence[str],
    source: str,
    warn: Warn,
) -> tuple[FilledSecret | None, list[str]]:
    """Create it, or change its users; an anchor that it has is kept.

    `users`: the issuer's, who may request its tokens. `source`: where a client finds its own token,
    of the form of `parse_source`. Its deadline stays. Returns its anchor, or None in a dry run, and
    the earlier users. Raises ForeignAccountError, NoRoomError, ApiError.
    """
    name, watcher = spec.name, spec.watcher_namespace
    refuse_foreign(account, adopt=spec.adopt)
    reused = reusable_secret(cluster, account, warn, is_anchor=True)
    if reused is None:
        Room(cluster, name.namespace).take(name.namespace)
    secret_name = reused or new_secret_name(name.name, labels.ANCHOR_INFIX)
    documents = identity_objects(name.namespace, name.name, "", _annotations(spec, account))
    documents.pop()  # the token Secret
    binding = documents[-1]
    binding["metadata"]["name"] = federated_binding_name(name.name)
    binding["subjects"] = [{"kind": "User", "apiGroup": RBAC_GROUP, "name": user} for user in users]
    dry_run(cluster, [*documents, anchor_secret(name, "", secret_name, source)])
    earlier = cluster.find(ROLE_BINDINGS, name_of(binding), name.namespace) or {}
    before = [subject["name"] for subject in earlier.get("subjects") or ()]
    prepare_namespace(cluster, name.namespace, warn, watcher_namespace=watcher)
    if cluster.dry_run:
        return None, before
    uid, *_ = [uid_of(cluster.apply(document)) for document in documents]
    anchor = cluster.apply(anchor_secret(name, uid, secret_name, source))
    return FilledSecret(secret=CredentialSecret.read(anchor)), before


def _annotations(spec: IdentitySpec, account: Account | None) -> dict[str, str]:
    """Return those of the ServiceAccount; what it has of daypass is kept."""
    before = account.annotations if account is not None else {}
    annotations = {key: value for key, value in before.items() if key.startswith(labels.DOMAIN)}
    if account is not None and not account.is_ours:
        annotations[labels.ADOPTED] = "true"
    return annotations | spec.credentials.annotations()
