"""Creating an identity, or repairing one: with a long-lived token, or federated.

A federated identity is for users whose tokens another issuer signs. It has an anchor in place of
the token Secret, and its RoleBinding names those users instead of the ServiceAccount. The API
server accepts their tokens by its own configuration (`daypass.render.authentication_config`), a
file on the control plane that no API can change.

The API server first checks all objects (`dryRun=All`), so that a refusal leaves nothing behind.
Everything is applied as desired state, and the Secret comes last. After an interruption, the same
command completes the identity, with the Secret that it has already created, if any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from daypass._core.clock import Clock, deadline_unix
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of, uid_of
from daypass._core.text import printable
from daypass._core.tls import read_authority
from daypass.config import Config
from daypass.identity.accounts import (
    Account,
    ForeignAccountError,
    IdentityName,
    InactiveIdentityError,
    Warn,
    account_objects,
    anchor_secret,
    federated_binding_name,
    token_secret,
    users_of,
)
from daypass.identity.credential_secrets import (
    CredentialSecret,
    FilledSecret,
    Room,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
    secrets_of,
    wait_for_token,
)
from daypass.identity.credentials_file import (
    CredentialsOptions,
    CredentialsSettings,
    resolve_settings,
)
from daypass.identity.enforcement import enforce_policy, grant_watch, require_allowed
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import ACCOUNT_UID_ANNOTATION, ROLE_BINDINGS


class FederatedIdentityError(DaypassError):
    """The identity is federated: a long-lived token would give it a second way in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorOptions:
    """The door and the tokens of an identity, as options name them or a config has them.

    `machine_authority`: where `daypass up` stores its certificate authority.
    """

    named: CredentialsOptions
    config: Config | None
    machine_authority: Path

    @property
    def watcher_namespace(self) -> str | None:
        """Where the gate's watcher runs, if the config has a gate in a cluster."""
        config = self.config
        return config.door.namespace if config and config.cluster_gates else None

    def settings(
        self, name: IdentityName, account: Account | None, cluster: Cluster
    ) -> CredentialsSettings:
        """Return all fields of the credentials except the token.

        What no option names comes from the config, then from the annotations of `account`. The
        door's certificate authority may also be in the kubeconfig. Raises CredentialsError, and
        UsageError, for tokens that the config's policy denies too.
        """
        named, config = self.named, self.config
        if named.authority is None:
            named = replace(named, authority=cluster.connection.door_authority)
        settings, domain = resolve_settings(named, config, account)
        if config is not None and config.policy is not None:
            require_allowed(cluster, config.policy, name, settings, named.is_federated)
        if settings.authority is None and domain is not None and domain.tls is None:
            if not self.machine_authority.exists():
                raise UsageError(
                    "this door's certificate is issued by its machine's own certificate authority",
                    "name it with --certificate-authority FILE: "
                    f"`{command('up')}` shows where it is",
                )
            settings = replace(settings, authority=read_authority(self.machine_authority))
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Who may request the tokens of a federated identity: `users` of another issuer.

    `source`: where a client finds its own token, of the form of `parse_source`.
    """

    users: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySpec:
    """The desired identity. `deadline`: RFC 3339, "" for never, or None to leave it unchanged.

    `watcher_namespace`: where the gate's watcher runs, if the config names it. `federation`: None
    for an identity with a long-lived token.
    """

    name: IdentityName
    credentials: CredentialsSettings
    deadline: str | None = None
    adopt: bool = False
    watcher_namespace: str | None = None
    federation: Federation | None = None


def create(
    cluster: Cluster, account: Account | None, spec: IdentitySpec, *, warn: Warn
) -> FilledSecret:
    """Create an identity, or repair the one that exists. `account`: what has its name now.

    Raises ForeignAccountError, FederatedIdentityError, InactiveIdentityError, NoRoomError,
    NotFoundError (the namespace), NotReadyError (no token in time), ApiError.
    """
    federated = spec.federation is not None
    reused = reusable_secret(cluster, account, warn, federated=federated)
    *documents, secret = plan(spec, account, reused, clock=cluster.clock)
    # What others have changed in a token Secret stays: it is found by its name.
    secrets = [secret] if reused is None or federated else []
    check(cluster, spec, [*documents, *secrets], is_new=reused is None, warn=warn)
    uid, *_ = [uid_of(cluster.apply(document)) for document in documents]
    for each in secrets:
        if federated:
            each["metadata"]["annotations"][ACCOUNT_UID_ANNOTATION] = uid
        cluster.apply(each)
    filled = wait_for_token(cluster, spec.name, name_of(secret))
    return replace(filled, is_new=reused is None)


def check(
    cluster: Cluster, spec: IdentitySpec, documents: Sequence[Object], *, is_new: bool, warn: Warn
) -> list[Object]:
    """Let the API server check an identity's objects, and prepare its namespace for them.

    Returns them as they would be stored. `is_new`: the Secret is. Raises NoRoomError, ApiError,
    NotFoundError (the namespace).
    """
    if is_new:
        Room(cluster, spec.name.namespace).take(spec.name.namespace)
    checked = dry_run(cluster, documents)
    grant_watch(cluster, spec.name.namespace, spec.watcher_namespace, warn)
    enforce_policy(cluster, spec.name.namespace, warn)
    return checked


def dry_run(cluster: Cluster, documents: Sequence[Object], *, force: bool = False) -> list[Object]:
    """Return an identity's objects as the API server would store them. Raises ApiError.

    `force`: take over fields that another field manager has set. In a dry run by the client, they
    are returned unchanged. A Secret is without its data: that of an existing one would have its
    token.
    """
    if cluster.dry_run == "client":
        return list(documents)
    checked = []
    for document in documents:
        try:
            stored = cluster.apply(document, dry_run=True, force=force)
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
    spec: IdentitySpec, account: Account | None, reused: CredentialSecret | None, *, clock: Clock
) -> list[Object]:
    """Return an identity's objects, the Secret last: `reused`, or (None) a new one.

    Raises ForeignAccountError, InactiveIdentityError.
    """
    name, federation = spec.name, spec.federation
    secret_name, replaces = (reused.name, reused.replaces) if reused else (None, None)
    annotations = _account_annotations(spec, account, clock)
    if federation is None:
        return [*account_objects(name, annotations), token_secret(name, secret_name)]
    return [
        *account_objects(name, annotations, federation.users),
        anchor_secret(name, "", federation.source, secret_name, replaces=replaces),
    ]


def _account_annotations(
    spec: IdentitySpec, account: Account | None, clock: Clock
) -> dict[str, str]:
    if account is not None and not account.is_ours:
        _refuse_foreign(account, adopt=spec.adopt)
    annotations = spec.credentials.annotations()
    if account is not None and (account.is_adopted or not account.is_ours):
        annotations[labels.ADOPTED] = "true"
    deadline = spec.deadline
    if deadline is None and account is not None and account.is_ours:
        deadline = account.annotations.get(labels.DEADLINE)
        if deadline_unix(deadline) <= clock.unix():
            raise InactiveIdentityError(
                f"identity {spec.name} has expired: its deadline was {deadline}",
                "set another one, such as --expires 90d, or --expires never",
            )
    if deadline:
        annotations[labels.DEADLINE] = deadline
    return annotations


def _refuse_foreign(account: Account, *, adopt: bool) -> None:
    name = account.name
    if account.manager not in ("", labels.MANAGER):
        raise ForeignAccountError(
            f"ServiceAccount {name} is managed by {printable(account.manager, 63)}",
            "it would undo the changes: choose another name, and give that identity the rights",
        )
    if not adopt:
        raise ForeignAccountError(
            f"ServiceAccount {name} exists already, and daypass did not create it",
            "choose another name; or, if clients outside the cluster may have all its rights,"
            " add --adopt",
        )


def reusable_secret(
    cluster: Cluster, account: Account | None, warn: Warn, *, federated: bool
) -> CredentialSecret | None:
    """Return an identity's live token Secret or (`federated`) anchor, or None.

    Warns if it has several live Secrets. Raises FederatedIdentityError if it is federated and is to
    have a long-lived token.
    """
    if account is None:
        return None
    if not federated and federated_users(cluster, account.name) is not None:
        name = account.name
        delete = command("identity", "delete", name.name, "-n", name.namespace)
        raise FederatedIdentityError(
            f"identity {name} is federated: it gets no long-lived token",
            f"to change it: {command('identity', 'federate', '--help')}\n"
            f"for a long-lived token, choose another name, or begin with: {delete}",
        )
    live = live_secrets(secrets_of(cluster, account.name), account.uid)
    current = current_secret([each for each in live if each.is_anchor is federated])
    others = ", ".join(sorted(each.name for each in live if each is not current))
    if others:
        unfinished = current is None or is_rotation_unfinished(current, live)
        what = "its rotation is unfinished" if unfinished else "it has several tokens"
        name = account.name
        warn(
            f"{what}: {others} is live, too",
            command("identity", "rotate", name.name, "-n", name.namespace),
        )
    return current


def federated_users(cluster: Cluster, name: IdentityName) -> tuple[str, ...] | None:
    """Return the users who may request a federated identity's tokens; None if it is not one."""
    binding = cluster.find(ROLE_BINDINGS, federated_binding_name(name.name), name.namespace)
    return None if binding is None else users_of(binding)
