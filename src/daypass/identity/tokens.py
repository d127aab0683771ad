"""The Secrets that hold an identity's long-lived tokens.

An identity has one live Secret, or none if it is revoked. During a rotation it has two, and the new
one names the old one in its REPLACES annotation. That tells an unfinished rotation from a finished
one, so that the next run continues with the Secret that exists.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daypass._core import labels
from daypass._core.hints import kubectl
from daypass._core.secret import Secret
from daypass.client.subject_token import read_identity
from daypass.identity.model import (
    ACCOUNT_ANNOTATION,
    ForeignAccountError,
    IdentityName,
    is_owned_by,
)
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS, TOKEN_SECRETS, Object
from daypass.kube.waiting import Waiter

ACCOUNT_UID_ANNOTATION = "kubernetes.io/service-account.uid"
WAIT_SECONDS = 30.0
_OUR_NAME = re.compile(f"(.+){labels.SECRET_INFIX}{labels.SECRET_SUFFIX}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSecret:
    """The metadata of a Secret with a long-lived token.

    `is_ours`: it is part of the identity `account`, by its name or by label and annotation. Anybody
    who may write Secrets can change those two, and the annotations of Kubernetes, while the token
    works on; name and type are fixed. `account_uid` is empty until the cluster has filled the
    Secret.
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
        """Read the metadata of an object."""
        metadata = document["metadata"]
        annotations = metadata.get("annotations") or {}
        annotated = annotations.get(ACCOUNT_ANNOTATION, "")
        ours = _OUR_NAME.fullmatch(metadata["name"])
        account = IdentityName(namespace=metadata["namespace"], name=ours[1] if ours else annotated)
        account_uid = annotations.get(ACCOUNT_UID_ANNOTATION, "")
        return cls(
            account=account,
            account_uid=account_uid if annotated == account.name else "",
            name=metadata["name"],
            uid=metadata["uid"],
            created=metadata.get("creationTimestamp") or "",
            is_ours=ours is not None or is_owned_by(document, account),
            replaces=annotations.get(labels.REPLACES),
            retire_after=annotations.get(labels.RETIRE_AFTER),
        )


def token_secrets(cluster: Cluster, name: IdentityName) -> list[TokenSecret]:
    """Return all Secrets that hold a token of this ServiceAccount, foreign ones too."""
    found = cluster.list(SECRETS, name.namespace, fields=TOKEN_SECRETS, metadata_only=True)
    return [secret for secret in _read(found) if secret.account == name]


def our_token_secrets(cluster: Cluster, namespace: str | None) -> list[TokenSecret]:
    """Return the token Secrets of all identities in a namespace, or (None) in all of them."""
    found = cluster.list(SECRETS, namespace, fields=TOKEN_SECRETS, metadata_only=True)
    return [secret for secret in _read(found) if secret.is_ours]


def _read(documents: Iterable[Object]) -> list[TokenSecret]:
    # The API server refuses the token of a Secret that waits for a finalizer
    # (k8s.io/kubernetes/pkg/serviceaccount/legacy.go).
    return [
        TokenSecret.read(each) for each in documents if "deletionTimestamp" not in each["metadata"]
    ]


def live_secrets(secrets: Iterable[TokenSecret], account_uid: str) -> list[TokenSecret]:
    """Return the managed Secrets of the ServiceAccount with this UID that are not retired."""
    return [
        secret
        for secret in secrets
        if secret.is_ours
        and secret.retire_after is None
        and secret.account_uid in ("", account_uid)
    ]


def current_secret(live: Sequence[TokenSecret]) -> TokenSecret | None:
    """Return the newest live Secret that no other one replaces, or None if there is none."""
    replaced = {secret.replaces for secret in live}
    latest = [secret for secret in live if secret.name not in replaced] or live
    return max(latest, key=lambda secret: (secret.created, secret.name), default=None)


def is_rotation_unfinished(secret: TokenSecret, live: Iterable[TokenSecret]) -> bool:
    """Return whether the Secret that this one replaces is still live."""
    return secret.replaces in {each.name for each in live}


def wait_for_token(
    cluster: Cluster, name: IdentityName, secret_name: str, seconds: float = WAIT_SECONDS
) -> Secret:
    """Return the token that the cluster puts into a new Secret, within so many seconds.

    Raises NotReadyError, NotFoundError, ForeignAccountError: who may create Secrets can give one
    that holds another account's token a name of this identity.
    """

    def read() -> Secret | str:
        data = cluster.get(SECRETS, secret_name, name.namespace).get("data") or {}
        if not data.get("token"):
            return "the cluster has put none into it"
        token = Secret(base64.b64decode(data["token"]).decode())
        if (holder := read_identity(token, cluster.clock.unix()).service_account) != name.name:
            raise ForeignAccountError(
                f"Secret {name.namespace}/{secret_name} holds a token of {holder}",
                "delete it: " + kubectl("delete", "secret", secret_name, "-n", name.namespace),
            )
        return token

    return Waiter(cluster, seconds).wait(
        f"the token in Secret {name.namespace}/{secret_name}", read,
        "is kube-controller-manager running? The same command continues from here",
    )  # fmt: skip
