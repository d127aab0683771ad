"""Identities as an administrator makes them, and what is accepted of their tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.identity.accounts import (
    IdentityName,
    Warn,
    account_objects,
    find_account,
    get_identity,
    token_secret,
)
from daypass.identity.create import Federation, IdentitySpec, create
from daypass.identity.credential_secrets import CredentialSecret, FilledSecret, secrets_of
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.grants import KUBEFLOW, role_grant
from daypass.identity.rotate import Rotation, rotate
from daypass.kube.cluster import Cluster, DryRun
from daypass.kube.errors import ApiError
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS, Resource
from daypass.render.authentication_config import TrustedIssuer

GATE = "gate.example.com"
SETTINGS = CredentialsSettings(
    door="https://ekf.example.com/kubernetes", audience=GATE, lifetime_seconds=3600
)
ISSUER = "https://ci.example.com"
BOT = IdentityName(namespace="team", name="bot")


DISGUISES: dict[str, tuple[Resource, dict[str, Any]]] = {
    "Secret without label": (SECRETS, {"labels": {labels.MANAGED_BY: None}}),
    "Secret of another manager": (SECRETS, {"labels": {labels.MANAGED_BY: "argocd"}}),
    "Secret without annotation": (SECRETS, {"annotations": {labels.IDENTITY: None}}),
    "Secret of another identity": (SECRETS, {"annotations": {labels.IDENTITY: "team/other"}}),
    "account without label": (SERVICE_ACCOUNTS, {"labels": {labels.MANAGED_BY: None}}),
    "account without annotation": (SERVICE_ACCOUNTS, {"annotations": {labels.IDENTITY: None}}),
}
"""What a user with Kubernetes's role `edit` can change of an identity; its token works on."""


def disguise(cluster: Cluster, kind: str, name: IdentityName, secret_name: str) -> None:
    resource, metadata = DISGUISES[kind]
    changed = secret_name if resource is SECRETS else name.name
    cluster.patch(resource, changed, {"metadata": metadata}, name.namespace)


def identity_objects(
    name: IdentityName, secret_name: str | None = None, annotations: Mapping[str, str] = {}
) -> list[Object]:
    """The objects of an identity with a long-lived token, in the order to create them."""
    return [*account_objects(name, annotations), token_secret(name, secret_name)]


def silent(fact: str, hint: str = "") -> None:
    """Ignore a warning."""


@contextmanager
def dry_run(cluster: Cluster, mode: DryRun = "server") -> Iterator[Cluster]:
    """A cluster that changes nothing for one block."""
    cluster.dry_run = mode
    try:
        yield cluster
    finally:
        cluster.dry_run = None


class Warnings(list[str]):
    def __call__(self, fact: str, hint: str = "") -> None:
        self.append(f"{fact}\n{hint}" if hint else fact)


def make(
    cluster: Cluster, name: IdentityName = BOT, *, warn: Warn = silent, **spec: Any
) -> FilledSecret:
    wished = IdentitySpec(name=name, **{"credentials": SETTINGS, **spec})
    return create(cluster, find_account(cluster, name), wished, warn=warn)


def make_federated(
    cluster: Cluster, name: IdentityName = BOT, source: str = f"github:{ISSUER}", **spec: Any
) -> FilledSecret:
    """Federate an identity, and return its anchor."""
    users = TrustedIssuer(url=ISSUER, audience="door", subjects=("main",)).users
    return make(cluster, name, federation=Federation(users=tuple(users), source=source), **spec)


def foreign_account(cluster: Cluster, **labels: str) -> None:
    metadata = {"name": "bot", "namespace": "team", "labels": labels}
    cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def grant(cluster: Cluster, name: IdentityName = BOT) -> None:
    """Give an identity Kubeflow's edit in the namespace `far`."""
    given = role_grant(identity=name, namespace="far", cluster_role="kubeflow-edit")
    for document in given.objects("grant", KUBEFLOW):
        cluster.apply(document)


def renew(
    cluster: Cluster,
    name: IdentityName = BOT,
    deliver: Callable[[bytes], None] = lambda _: None,
    *,
    overlap_seconds: int = 60,
) -> Rotation:
    """Rotate an identity. Raises its error."""
    secrets = own_secrets(cluster, name)
    account = get_identity(cluster, name, has_tokens=bool(secrets))
    rotation = Rotation(account=account, secrets=secrets)
    rotate(
        cluster, [rotation], deliver=lambda _, content: deliver(content),
        overlap_seconds=overlap_seconds,
    )  # fmt: skip
    if rotation.error is not None:
        raise rotation.error
    return rotation


def own_secrets(cluster: Cluster, name: IdentityName = BOT) -> list[CredentialSecret]:
    return [secret for secret in secrets_of(cluster, name) if secret.is_ours]


def token_in(credentials: bytes) -> Secret:
    return Secret(json.loads(credentials)["token"])


def exchange(holder: Cluster, name: IdentityName, *, bound_to: str | None) -> Secret | ApiError:
    """Return the short-lived token that `holder` gets for the gate, or the refusal."""
    spec: dict[str, Any] = {"audiences": [GATE]}
    if bound_to is not None:
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound_to}
    path = SERVICE_ACCOUNTS.path(name.namespace, name.name, "token")
    try:
        answer = holder.request("POST", path, {"spec": spec}, what="ask for a token")
    except ApiError as error:
        return error
    return Secret(answer["status"]["token"])


def accepts(cluster: Cluster, token: Secret, *audiences: str) -> bool:
    spec = {"token": token.reveal(), "audiences": list(audiences)}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    answer = cluster.request("POST", path, {"spec": spec}, what="review a token")
    return bool(answer["status"].get("authenticated", False))
