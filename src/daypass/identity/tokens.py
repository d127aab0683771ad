"""The Secrets that hold an identity's long-lived tokens: which there are, and which one counts.

At rest an identity has one live Secret, or none (revoked). During a rotation there are two; the
new one names the old one (marks.REPLACES), so that a rotation that broke off is told from a
finished one, and goes on with the Secret that it has made.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.secret import Secret
from daypass.identity.model import ACCOUNT_ANNOTATION, TOKEN_TYPE, IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS, Object

OF_TOKENS = f"type={TOKEN_TYPE}"
ACCOUNT_UID_ANNOTATION = "kubernetes.io/service-account.uid"
WAIT_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.5


class NoTokenError(DaypassError):
    """The cluster has not filled a token Secret."""

    heals_by_itself = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSecret:
    """A Secret that holds a long-lived token of a ServiceAccount; its data was never asked for.

    `is_ours`: it is marked as that identity's. `account_uid` is empty until the cluster fills it.
    """

    account: IdentityName
    account_uid: str
    name: str
    uid: str
    created: str
    is_ours: bool
    replaces: str | None
    retire_after: str | None

    @classmethod
    def read(cls, document: Object) -> TokenSecret:
        """The same in an object's metadata."""
        metadata = document["metadata"]
        annotations = metadata.get("annotations") or {}
        account = IdentityName(
            namespace=metadata["namespace"], name=annotations.get(ACCOUNT_ANNOTATION, "")
        )
        return cls(
            account=account,
            account_uid=annotations.get(ACCOUNT_UID_ANNOTATION, ""),
            name=metadata["name"],
            uid=metadata["uid"],
            created=metadata.get("creationTimestamp") or "",
            is_ours=(metadata.get("labels") or {}).get(labels.MANAGED_BY) == labels.MANAGER
            and annotations.get(labels.IDENTITY) == account.key,
            replaces=annotations.get(labels.REPLACES),
            retire_after=annotations.get(labels.RETIRE_AFTER),
        )


def token_secrets(cluster: Cluster, name: IdentityName) -> list[TokenSecret]:
    """All Secrets that hold a token of this ServiceAccount, whoever made them."""
    found = cluster.list(SECRETS, name.namespace, fields=OF_TOKENS, metadata_only=True)
    return [secret for secret in _read(found) if secret.account == name]


def our_token_secrets(cluster: Cluster, namespace: str | None) -> list[TokenSecret]:
    """The token Secrets of all identities, in a namespace or (None) in all."""
    found = cluster.list(
        SECRETS, namespace, labels=labels.SELECTOR, fields=OF_TOKENS, metadata_only=True
    )
    return [secret for secret in _read(found) if secret.is_ours]


def _read(documents: Iterable[Object]) -> list[TokenSecret]:
    # One that waits for a finalizer is as good as deleted: its token counts no more
    # (k8s.io/kubernetes/pkg/serviceaccount/legacy.go).
    return [
        TokenSecret.read(each) for each in documents if "deletionTimestamp" not in each["metadata"]
    ]


def live(secrets: Iterable[TokenSecret], account_uid: str) -> list[TokenSecret]:
    """Ours that are in use: not rotated out, and of this very ServiceAccount."""
    return [
        secret
        for secret in secrets
        if secret.is_ours
        and secret.retire_after is None
        and secret.account_uid in ("", account_uid)
    ]


def current(alive: Sequence[TokenSecret]) -> TokenSecret | None:
    """The one of several live ones that counts: the newest that no other one replaces."""
    replaced = {secret.replaces for secret in alive}
    latest = [secret for secret in alive if secret.name not in replaced] or alive
    return max(latest, key=lambda secret: (secret.created, secret.name), default=None)


def is_unfinished(secret: TokenSecret, alive: Iterable[TokenSecret]) -> bool:
    """Whether a rotation made this one and broke off before the old one was retired."""
    return secret.replaces in {each.name for each in alive}


def wait_for_token(cluster: Cluster, namespace: str, secret_name: str) -> Secret:
    """The token that the cluster puts into a Secret, at most half a minute after it was made.

    Raises NoTokenError, NotFoundError.
    """
    waited, pause = 0.0, FIRST_PAUSE_SECONDS
    while True:
        data = cluster.get(SECRETS, secret_name, namespace).get("data") or {}
        if data.get("token"):
            return Secret(base64.b64decode(data["token"]).decode())
        if waited >= WAIT_SECONDS:
            raise NoTokenError(
                f"the cluster has put no token into Secret {secret_name} in {namespace} for"
                f" {WAIT_SECONDS:.0f} s",
                "is kube-controller-manager running? The same command goes on from here",
            )
        cluster.sleep(pause)
        waited, pause = waited + pause, min(pause * 1.5, LONGEST_PAUSE_SECONDS)
