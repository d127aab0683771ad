"""Carrying out what annotations promise: deadlines of identities, and of Secrets rotated out.

An identity whose deadline has passed loses its tokens and every right that was given to it, in the
order of a deletion. Its ServiceAccount stays, marked, so that a list shows what has ended and when;
`create --expires` lets it in again, `delete` removes the rest.

What runs `daypass identity reap` in a cluster: a CronJob, and no more rights than it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.text import printable
from daypass._core.timestamps import parse_rfc3339
from daypass.identity.delete import find_owned_objects, owned_objects_of, warn_of_opened
from daypass.identity.model import Account, Object, is_past
from daypass.identity.tokens import TokenSecret, our_token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)


class ReapError(DaypassError):
    """Something that was to end is still there."""


@dataclass(slots=True, kw_only=True)
class Reaped:
    """What ended (identities by their names, objects in words), and what went wrong.

    `secrets`: namespaces and UIDs of the Secrets among them.
    """

    ended: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    errors: list[DaypassError] = field(default_factory=list)
    secrets: list[tuple[str, str]] = field(default_factory=list)

    def attempt(
        self,
        shown: str,
        remove: Callable[[], bool] | None,
        secret: tuple[str, str] | None = None,
    ) -> None:
        """Remove something (None: only say so), and go on if that fails."""
        if shown in self.deleted:
            return  # a Secret that was rotated out, of an identity that has ended
        try:
            if remove is None or remove():
                self.deleted.append(shown)
                self.secrets += [secret] if secret is not None else []
        except ConflictError:
            return  # not the one that was looked at any more: next time
        except DaypassError as error:
            self.errors.append(error)


def reap(
    cluster: Cluster,
    namespace: str | None,
    *,
    warn: Callable[[str, str], None],
    dry_run: bool = False,
) -> Reaped:
    """End what is to have ended by now, in a namespace or (None) in all. Never raises half-way.

    `dry_run`: only say what would end.
    """
    reaped = Reaped()
    for secret in our_token_secrets(cluster, namespace):
        _reap_secret(cluster, secret, reaped, dry_run=dry_run)
    documents = cluster.list(
        SERVICE_ACCOUNTS, namespace, labels=labels.SELECTOR, metadata_only=True
    )
    ended: list[Account] = []
    for account in map(Account.read, documents):
        if account.is_ours:
            deadline = account.annotations.get(labels.DEADLINE)
            _complain(f"identity {account.name}", labels.DEADLINE, deadline, reaped)
            ended += [account] if is_past(deadline, cluster.clock) else []
    found = find_owned_objects(cluster, namespace, warn) if ended else []
    for account in ended:
        belongings = owned_objects_of(account.name, found)
        reaped.ended += [account.name.key] if belongings else []
        for each in belongings:
            held = (each.namespace, each.uid) if each.resource is SECRETS else None
            reaped.attempt(each.shown, None if dry_run else partial(each.remove, cluster), held)
        if not dry_run:
            warn_of_opened(cluster, belongings, warn)
    return reaped


def _reap_secret(cluster: Cluster, secret: TokenSecret, reaped: Reaped, *, dry_run: bool) -> None:
    place = secret.account.namespace
    shown = SECRETS.named(place, secret.name)
    _complain(shown, labels.RETIRE_AFTER, secret.retire_after, reaped)
    if is_past(secret.retire_after, cluster.clock):
        remove = partial(cluster.delete, SECRETS, secret.name, place, uid=secret.uid)
        reaped.attempt(shown, None if dry_run else remove, (place, secret.uid))


def _complain(shown: str, mark: str, moment: str | None, reaped: Reaped) -> None:
    if moment is not None and parse_rfc3339(moment) is None:
        reaped.errors.append(
            ReapError(
                f"{shown}: {mark} is no moment: {printable(moment, 40)!r}",
                "write it as 2026-11-24T16:00:00Z",
            )
        )


NAME = "daypass-reap"
SCHEDULE = "*/10 * * * *"
LABELS = {
    "app.kubernetes.io/name": NAME,
    "app.kubernetes.io/part-of": "daypass",
    "app.kubernetes.io/managed-by": "daypass",
}
RBAC = "rbac.authorization.k8s.io"


def reaper_objects(
    *, home: str, namespace: str | None, image: str, schedule: str = SCHEDULE
) -> list[Object]:
    """ServiceAccount, rights and CronJob, in the namespace `home`.

    It reaps one namespace, or (None) all. `image` holds `daypass[admin]` for its `python`.
    """
    kind = "Role" if namespace else "ClusterRole"
    place = {"namespace": namespace} if namespace else {}
    return [
        _object("v1", "ServiceAccount", {"namespace": home}),
        {**_object(f"{RBAC}/v1", kind, place), "rules": _rules()},
        {
            **_object(f"{RBAC}/v1", f"{kind}Binding", place),
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": home}],
        },
        {
            **_object("batch/v1", "CronJob", {"namespace": home}),
            "spec": {
                "schedule": schedule,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 300,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 1,
                        "activeDeadlineSeconds": 300,
                        "template": {
                            "metadata": {"labels": dict(LABELS)},
                            "spec": _pod(image, namespace),
                        },
                    }
                },
            },
        },
    ]


def _rules() -> list[Object]:
    def rule(verbs: list[str], *resources: Resource) -> Object:
        group = resources[0].api_version.rpartition("/")[0]
        plurals = [resource.plural for resource in resources]
        return {"apiGroups": [group], "resources": plurals, "verbs": verbs}

    return [
        rule(["list"], SERVICE_ACCOUNTS),
        rule(["list", "delete"], SECRETS),
        rule(["list", "delete"], ROLES, ROLE_BINDINGS),
        rule(["list", "delete"], AUTHORIZATION_POLICIES),
    ]


def _pod(image: str, namespace: str | None) -> Object:
    where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    return {
        "serviceAccountName": NAME,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "reap",
                "image": image,
                "command": ["python", "-m", "daypass", "identity", "reap", *where],
                "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"memory": "256Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _object(api_version: str, kind: str, place: dict[str, str]) -> Object:
    metadata = {"name": NAME, **place, "labels": dict(LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
