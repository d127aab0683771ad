"""An identity without a long-lived secret: users whom somebody else's tokens prove.

What `create` makes, without the Secret: ServiceAccount and Role, and a RoleBinding to the users in
place of the ServiceAccount itself. Whom the API server knows them by is its own configuration
(`daypass.render.policy.authentication`), a file of the control plane that no API can change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from daypass._core import labels
from daypass._core.errors import UsageError
from daypass.identity.create import try_out
from daypass.identity.credentials_file import (
    LIMIT_BYTES,
    CredentialsSettings,
    FileInUseError,
    check_place,
)
from daypass.identity.model import Account, IdentityName, identity_objects, refuse_foreign
from daypass.identity.namespaces import hold_to_policy, let_watch
from daypass.kube.cluster import Cluster
from daypass.kube.resources import Object
from daypass.render.policy.authentication import TrustedIssuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Which identity, whom it is for, and where such a client finds its own token."""

    name: IdentityName
    handover: CredentialsSettings
    trusted: TrustedIssuer
    source: Mapping[str, Any]


def parse_source(text: str, audience: str) -> dict[str, Any]:
    """`token` of a credentials file for `github`, `file:PATH` or `variable:NAME`.

    `audience`: what the client's own token is to be for. Raises UsageError.
    """
    kind, _, value = text.partition(":")
    if text == "github":
        return {"github": {"audience": audience}}
    if kind in ("file", "variable") and value:
        return {kind: value}
    raise UsageError(
        f"{text[:40]!r} is no source of tokens",
        "it is github, file:PATH or variable:NAME: where the client finds its own OIDC token",
    )


def federated_objects(federation: Federation, account: Account | None) -> list[Object]:
    """ServiceAccount, Role and RoleBinding, in the order in which they are to be made.

    `account`: the ServiceAccount of that name, if there is one; its marks stay.
    """
    name = federation.name
    before = account.annotations if account is not None else {}
    annotations = {key: value for key, value in before.items() if key.startswith(labels.DOMAIN)}
    if account is not None and not account.is_ours:
        annotations[labels.ADOPTED] = "true"
    annotations |= federation.handover.annotations()
    made = identity_objects(name.namespace, name.name, "", annotations)
    service_account, role, binding = made[:3]  # all but the Secret
    binding["metadata"]["name"] = f"{name.name}-daypass-federated"
    binding["subjects"] = [
        {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
        for user in federation.trusted.users
    ]
    return [service_account, role, binding]


def federate(
    cluster: Cluster,
    federation: Federation,
    account: Account | None,
    *,
    adopt: bool,
    warn: Callable[[str, str], None],
) -> None:
    """Make it, or bring it to these users and no others. Raises ForeignAccountError, ApiError."""
    refuse_foreign(account, adopt=adopt)
    documents = federated_objects(federation, account)
    try_out(cluster, documents)
    let_watch(cluster, federation.name.namespace, None, warn)
    hold_to_policy(cluster, federation.name.namespace, warn)
    for document in documents:
        cluster.apply(document)


def refuse_other_file(path: str, name: IdentityName) -> None:
    """Raise FileInUseError where a file is there that is not this identity's credentials, and
    UsageError where there can be none."""
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
        f"{path} is there already and holds no federated credentials of {name}",
        "name another file, or remove it",
    )


def federated_credentials(federation: Federation) -> bytes:
    """The credentials file. No secret stands in it."""
    handover = federation.handover
    document: dict[str, Any] = {"type": "daypass", "version": 1, "door": handover.door}
    if handover.authority is not None:
        document["certificateAuthority"] = handover.authority
    document |= {
        "namespace": federation.name.namespace,
        "serviceAccount": federation.name.name,
        "token": dict(federation.source),
        "audience": handover.audience,
        "lifetimeSeconds": handover.lifetime_seconds,
    }
    return json.dumps(document, indent=2).encode() + b"\n"
