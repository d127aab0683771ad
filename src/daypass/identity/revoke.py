"""Revocation: every long-lived token of an identity ends now, and all that hangs on it.

A Secret that is made again under a name that was used before holds the same token, byte by byte
(it has no time and no number in it), so names are never used twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass._core.hints import kubectl
from daypass.identity.naming import IdentityName
from daypass.identity.tokens import token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import is_embedded
from daypass.kube.errors import ConflictError
from daypass.kube.resources import SECRETS

REMEMBERED_SECONDS = 10
"""How long an API server may remember a token that it has let in
(k8s.io/apiserver/pkg/authentication/token/cache)."""

ROUNDS = 5


class NotRevokedError(DaypassError):
    """Somebody makes token Secrets of the identity as fast as they are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The Secrets that were deleted, and those of others that hold a token of it as well.

    `uids`: of those that were deleted.
    """

    name: IdentityName
    deleted: tuple[str, ...]
    left: tuple[str, ...]
    uids: tuple[str, ...] = ()


def revoke(cluster: Cluster, name: IdentityName) -> Revoked:
    """Delete every token Secret of an identity, until there is none. Raises NotRevokedError."""
    deleted: dict[str, str] = {}
    for _ in range(ROUNDS):
        secrets = token_secrets(cluster, name)
        ours = [secret for secret in secrets if secret.is_ours]
        if not ours:
            left = tuple(secret.name for secret in secrets if not secret.is_ours)
            uids = tuple(deleted.values())
            return Revoked(name=name, deleted=tuple(deleted), left=left, uids=uids)
        for secret in ours:
            try:
                if cluster.delete(SECRETS, secret.name, name.namespace, uid=secret.uid):
                    deleted[secret.name] = secret.uid
            except ConflictError:
                continue  # another one of that name: the next round sees it
    show = kubectl("get", "secrets", "-n", name.namespace, "-o", "yaml", "--show-managed-fields")
    raise NotRevokedError(
        f"identity {name} gets new token Secrets as fast as they are deleted",
        "look at who makes them" if is_embedded(cluster) else f"who makes them: {show}",
    )
