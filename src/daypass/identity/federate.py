"""An identity without a long-lived token, for users whose tokens another issuer signs.

It has the objects that `create` makes, without the Secret, and the RoleBinding names the issuer's
users instead of the ServiceAccount. The API server accepts their tokens by its own configuration
(`daypass.render.authentication_config`), a file on the control plane that no API can change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daypass._core import labels
from daypass._core.errors import UsageError
from daypass.identity.create import dry_run
from daypass.identity.credentials_file import (
    LIMIT_BYTES,
    CredentialsSettings,
    FileInUseError,
    check_place,
)
from daypass.identity.model import (
    RBAC_GROUP,
    Account,
    IdentityName,
    Warn,
    identity_objects,
    refuse_foreign,
)
from daypass.identity.namespaces import prepare_namespace
from daypass.kube.cluster import Cluster
from daypass.kube.resources import ROLE_BINDINGS, Object, name_of
from daypass.render.authentication_config import TrustedIssuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """An identity, the issuer's users, and where a client finds its own token (`source`).

    `watcher_namespace`: where the gate's watcher runs, if the config names it.
    """

    name: IdentityName
    credentials: CredentialsSettings
    trusted: TrustedIssuer
    source: Mapping[str, Any]
    watcher_namespace: str | None = None

    def file_content(self) -> bytes:
        """Return the credentials file, which holds no secret."""
        return self.credentials.file_content(self.source, self.name)


def parse_source(text: str, audience: str) -> dict[str, Any]:
    """Return the `token` of a credentials file for `github`, `file:PATH` or `variable:NAME`.

    `audience`: that of the client's own token. Raises UsageError.
    """
    kind, _, value = text.partition(":")
    if text == "github":
        return {"github": {"audience": audience}}
    if kind in ("file", "variable") and value:
        return {kind: value}
    raise UsageError(
        f"{text[:40]!r} is not a source of tokens",
        "use github, file:PATH or variable:NAME: where the client finds its own OIDC token",
    )


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
    binding["metadata"]["name"] = f"{name.name}-daypass-federated"
    binding["subjects"] = [
        {"kind": "User", "apiGroup": RBAC_GROUP, "name": user} for user in federation.trusted.users
    ]
    return [service_account, role, binding]


def federate(
    cluster: Cluster, federation: Federation, account: Account | None, *, adopt: bool, warn: Warn
) -> list[str]:
    """Create it, or change its users; return the earlier. Raises ForeignAccountError, ApiError."""
    refuse_foreign(account, adopt=adopt)
    documents = federated_objects(federation, account)
    dry_run(cluster, documents)
    name, watcher = federation.name, federation.watcher_namespace
    before = cluster.find(ROLE_BINDINGS, name_of(documents[-1]), name.namespace) or {}
    prepare_namespace(cluster, name.namespace, warn, watcher_namespace=watcher)
    for document in () if cluster.dry_run else documents:
        cluster.apply(document)
    return [subject["name"] for subject in before.get("subjects") or ()]


def refuse_other_file(path: str, name: IdentityName) -> None:
    """Raise FileInUseError if the file is not this identity's federated credentials.

    Raises UsageError if no file can be written there.
    """
    check_place(path)
    if not os.path.lexists(path):
        return
    try:
        with open(path, encoding="utf-8") as file:
            document = json.loads(file.read(LIMIT_BYTES))
        if (document["namespace"], document["serviceAccount"]) == (name.namespace, name.name):
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise FileInUseError(
        f"{path} exists already and does not hold federated credentials of {name}",
        "name another file, or remove it",
    )
