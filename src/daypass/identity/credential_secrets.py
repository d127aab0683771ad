"""The Secrets that an identity's tokens are bound to, and the room that a gate has for them.

A Secret holds a long-lived token or, of a federated identity, it is an anchor. An identity has one
live Secret, or none if it is revoked. During a rotation it has two, and the new one names the old
one in its REPLACES annotation. That tells an unfinished rotation from a finished one, so that the
next run continues with the Secret that exists. An identity that is federated later has an anchor
and a long-lived token: that is such a rotation, too, since an anchor replaces all tokens.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from daypass._core.clock import deadline_unix
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.secret import Secret
from daypass.client.subject_token import read_identity
from daypass.gate.publication import find_room
from daypass.identity.accounts import (
    ForeignAccountError,
    IdentityName,
    anchor_secret,
    is_owned_by,
    list_identities,
    token_secret,
)
from daypass.kube.cluster import Cluster, Waiter
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import (
    ACCOUNT_ANNOTATION,
    ACCOUNT_UID_ANNOTATION,
    IDENTITY_SECRET_NAME,
    OTHER_SECRETS,
    SECRETS,
    TOKEN_SECRETS,
    TOKEN_TYPE,
)

WAIT_SECONDS = 30.0
_LAST_USED_LABEL = "kubernetes.io/legacy-token-last-used"
_INVALID_LABEL = "kubernetes.io/legacy-token-invalid-since"
_LONGEST_SOURCE_CHARACTERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSecret:
    """The metadata of a Secret with a long-lived token, or with an identity's name.

    `is_ours`: it is part of the identity `account`, by its name or by label and annotation. Anybody
    who may write Secrets can change those two, and the annotations of Kubernetes, while tokens work
    on; the name is fixed. `account_uid` is empty until the cluster has filled the Secret.
    `is_known`: a gate can know it, by its name and label. `has_token`: it is of Kubernetes' type.
    `is_anchor`: it has an anchor's name, and no token; then `source` is where its client finds one.
    `last_used`: the date of the token's last use, or None for never. `is_invalid`: the cluster no
    longer accepts it, since it was unused for long.
    """

    account: IdentityName
    account_uid: str
    name: str
    uid: str
    created: str
    is_ours: bool
    is_known: bool
    has_token: bool
    is_anchor: bool
    replaces: str | None
    retire_after: str | None
    last_used: str | None = None
    is_invalid: bool = False
    source: str = ""

    @classmethod
    def read(cls, document: Object, *, has_token: bool = False) -> CredentialSecret:
        metadata = document["metadata"]
        annotations, found = metadata.get("annotations") or {}, metadata.get("labels") or {}
        annotated = annotations.get(ACCOUNT_ANNOTATION, "")
        ours = IDENTITY_SECRET_NAME.fullmatch(metadata["name"])
        account = IdentityName(namespace=metadata["namespace"], name=ours[1] if ours else annotated)
        account_uid = annotations.get(ACCOUNT_UID_ANNOTATION, "")
        return cls(
            account=account,
            account_uid=account_uid if annotated == account.name else "",
            name=metadata["name"],
            uid=metadata["uid"],
            created=metadata.get("creationTimestamp") or "",
            is_ours=ours is not None or is_owned_by(document, account),
            is_known=ours is not None and labels.is_managed(document),
            has_token=has_token,
            is_anchor=ours is not None and ours[2] is not None and not has_token,
            replaces=annotations.get(labels.REPLACES),
            retire_after=annotations.get(labels.RETIRE_AFTER),
            last_used=found.get(_LAST_USED_LABEL),
            is_invalid=_INVALID_LABEL in found,
            source=annotations.get(labels.SOURCE, ""),
        )

    def successor(self, account_uid: str) -> Object:
        """Return a new Secret of the same kind that replaces this one. Raises UsageError."""
        if not self.is_anchor:
            return token_secret(self.account, replaces=self.name)
        parse_source(self.source)  # anybody who may write Secrets can change it
        return anchor_secret(self.account, account_uid, self.source, replaces=self.name)


class NoRoomError(DaypassError):
    """A namespace has as many credentials as a gate takes of it."""


class Room:
    """How many more credentials the gates take of a namespace or (None) of each.

    Safe to share between threads.
    """

    def __init__(self, cluster: Cluster, namespace: str | None) -> None:
        self._limit = find_room(cluster)
        self._used = Counter[str]()
        self._lock = Lock()
        if self._limit is not None:
            self._count(cluster, namespace)

    def _count(self, cluster: Cluster, namespace: str | None) -> None:
        """Count as the watch of a gate does: what has expired takes no room."""
        expired, secrets = set[IdentityName](), list_secrets(cluster, namespace)
        now_unix = cluster.server_unix()
        with suppress(ForbiddenError):
            accounts = list_identities(cluster, namespace)
            expired = {each.name for each in accounts if each.has_expired(now_unix)}
        for each in secrets:
            is_live = deadline_unix(each.retire_after) > now_unix and each.account not in expired
            self._used[each.account.namespace] += each.is_known and is_live

    def take(self, namespace: str) -> None:
        """Count one more Secret. Raises NoRoomError if there is no room for it."""
        with self._lock:
            if self._limit is not None and self._used[namespace] >= self._limit:
                raise NoRoomError(
                    f"namespace {namespace} has {self._used[namespace]} credentials, and the gate "
                    f"takes {self._limit} of one namespace (watch.credentialsPerNamespace)",
                    "delete identities that nobody uses, or raise that number in daypass.yaml",
                )
            self._used[namespace] += 1


def secrets_of(cluster: Cluster, name: IdentityName) -> list[CredentialSecret]:
    """Return all Secrets of this ServiceAccount, foreign ones that hold a token of it too."""
    return [each for each in list_secrets(cluster, name.namespace) if each.account == name]


def our_secrets(cluster: Cluster, namespace: str | None) -> list[CredentialSecret]:
    """Return the Secrets of all identities in a namespace, or (None) in all of them."""
    return [each for each in list_secrets(cluster, namespace) if each.is_ours]


def list_secrets(cluster: Cluster, namespace: str | None) -> list[CredentialSecret]:
    """Return all Secrets that hold a token or have an identity's name, in a namespace or (None) in
    all of them.
    """
    read = partial(cluster.list, SECRETS, namespace, metadata_only=True)
    return read_secrets(read(fields=TOKEN_SECRETS), read(fields=OTHER_SECRETS))


def read_secrets(tokens: Iterable[Object], others: Iterable[Object]) -> list[CredentialSecret]:
    """Return the Secrets that hold a `token`, and those of the `others` with an identity's name.

    Tokens can be bound to these whatever their type and label are.
    """
    known = [(each, True) for each in tokens]
    known += [(each, False) for each in others if IDENTITY_SECRET_NAME.fullmatch(name_of(each))]
    # The API server refuses the token of a Secret that waits for a finalizer
    # (k8s.io/kubernetes/pkg/serviceaccount/legacy.go, claims.go).
    return [
        CredentialSecret.read(each, has_token=has_token)
        for each, has_token in known
        if "deletionTimestamp" not in each["metadata"]
    ]


def live_secrets(secrets: Iterable[CredentialSecret], account_uid: str) -> list[CredentialSecret]:
    """Return the token Secrets and anchors of the ServiceAccount with this UID that are not
    retired, and not what only has such a name.
    """
    return [
        secret
        for secret in secrets
        if secret.is_ours
        and (secret.has_token or secret.is_anchor)
        and secret.retire_after is None
        and secret.account_uid in ("", account_uid)
    ]


def current_secret(live: Sequence[CredentialSecret]) -> CredentialSecret | None:
    """Return the newest live Secret that no other one replaces, or None if there is none."""
    live = [secret for secret in live if secret.is_anchor] or live
    replaced = {secret.replaces for secret in live}
    latest = [secret for secret in live if secret.name not in replaced] or live
    return max(latest, key=lambda secret: (secret.created, secret.name), default=None)


def is_rotation_unfinished(secret: CredentialSecret, live: Iterable[CredentialSecret]) -> bool:
    """Return whether a Secret that this one replaces is still live."""
    return any(
        each.name == secret.replaces or (secret.is_anchor and not each.is_anchor) for each in live
    )


def parse_source(text: str) -> dict[str, Any]:
    """Return the `token` of a credentials file for `github:AUDIENCE`, `file:PATH` or
    `variable:NAME`. Raises UsageError.
    """
    kind, _, value = text.partition(":")
    if value and len(text) <= _LONGEST_SOURCE_CHARACTERS:
        if kind == "github":
            return {"github": {"audience": value}}
        if kind == "file" or (kind == "variable" and "=" not in value):
            return {kind: value}
    raise UsageError(
        f"{text[:40]!r} is not a source of tokens",
        "use github, file:PATH or variable:NAME: where the client finds its own OIDC token\n"
        f"(an anchor has it in its annotation {labels.SOURCE}, which `federate` sets)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledSecret:
    """A Secret, and the token that the cluster has put into it; an anchor's is empty.

    `is_new`: the command that returns it has created it.
    """

    secret: CredentialSecret
    token: Secret = field(default=Secret(""), repr=False)
    is_new: bool = False


def wait_for_token(cluster: Cluster, name: IdentityName, secret_name: str) -> FilledSecret:
    """Return a new Secret once the cluster has put a token into it, within WAIT_SECONDS.

    Raises NotReadyError, NotFoundError, ForeignAccountError: who may create Secrets can give one
    that holds another account's token a name of this identity.
    """

    def read() -> FilledSecret | str:
        document = cluster.get(SECRETS, secret_name, name.namespace)
        secret = CredentialSecret.read(document, has_token=document["type"] == TOKEN_TYPE)
        data = document.get("data") or {}
        if secret.is_anchor:
            return FilledSecret(secret=secret)
        if not data.get("token"):
            return "the cluster has put none into it"
        token = Secret(base64.b64decode(data["token"]).decode())
        if (holder := read_identity(token).service_account) != name.name:
            raise ForeignAccountError(
                f"Secret {name.namespace}/{secret_name} holds a token of {holder}",
                "delete it: " + kubectl("delete", "secret", secret_name, "-n", name.namespace),
            )
        return FilledSecret(secret=secret, token=token)

    return Waiter(cluster, WAIT_SECONDS).wait(
        f"the token in Secret {name.namespace}/{secret_name}",
        read,
        "is kube-controller-manager running? The same command continues from here. With an external"
        f" signer, no Secret is filled in: see `{command('identity', 'federate', '--help')}`",
    )
