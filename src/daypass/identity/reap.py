"""Deleting what has expired: identities after their deadline, and Secrets after a rotation.

An identity whose deadline has passed loses its tokens and all its rights, in the order of a
deletion. Its ServiceAccount stays, so that lists still show it. `create --expires` activates it
again, `delete` removes the rest.

`reaper_objects` is a CronJob that runs `daypass identity reap`, with the rights that it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.text import printable
from daypass._core.timestamps import parse_rfc3339
from daypass.identity.delete import find_owned_objects, owned_by, warn_of_open_namespaces
from daypass.identity.model import RBAC_GROUP, Account, Warn, is_past
from daypass.identity.tokens import TokenSecret, our_token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Object,
    Resource,
)

_NAME = "daypass-reap"
_SCHEDULE = "*/10 * * * *"
_LABELS = {
    "app.kubernetes.io/name": _NAME,
    labels.PART_OF: labels.MANAGER,
    labels.MANAGED_BY: labels.MANAGER,
}


class ReapError(DaypassError):
    """An annotation holds no valid time, so that its object never expires."""


@dataclass(slots=True, kw_only=True)
class ReapResult:
    """Keys of the identities that have expired, the objects deleted, and the errors.

    `secrets`: namespaces and UIDs of the Secrets among the deleted objects.
    """

    expired: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    errors: list[DaypassError] = field(default_factory=list)
    secrets: list[tuple[str, str]] = field(default_factory=list)


def reap(
    cluster: Cluster, namespace: str | None, *, warn: Warn, dry_run: bool = False
) -> ReapResult:
    """Delete what has expired in a namespace or (None) in all. `dry_run`: return what would be.

    Raises ApiError if objects can't be listed; a failed deletion is among the result's errors.
    """
    result = ReapResult()
    for secret in our_token_secrets(cluster, namespace):
        _reap_secret(cluster, secret, result, dry_run=dry_run)
    documents = cluster.list(
        SERVICE_ACCOUNTS, namespace, labels=labels.SELECTOR, metadata_only=True
    )
    expired: list[Account] = []
    for account in map(Account.read, documents):
        if account.is_ours:
            deadline = account.annotations.get(labels.DEADLINE)
            _check_time(f"identity {account.name}", labels.DEADLINE, deadline, result)
            expired += [account] if is_past(deadline, cluster.clock) else []
    found = find_owned_objects(cluster, namespace, warn) if expired else []
    for account in expired:
        owned = owned_by(account.name, found)
        result.expired += [account.name.key] if owned else []
        for each in owned:
            secret_id = (each.namespace, each.uid) if each.resource is SECRETS else None
            remove = None if dry_run else partial(each.remove, cluster)
            _remove(each.display, remove, result, secret_id)
        if not dry_run:
            warn_of_open_namespaces(cluster, owned, warn)
    return result


def _reap_secret(
    cluster: Cluster, secret: TokenSecret, result: ReapResult, *, dry_run: bool
) -> None:
    namespace = secret.account.namespace
    display = SECRETS.named(namespace, secret.name)
    _check_time(display, labels.RETIRE_AFTER, secret.retire_after, result)
    if is_past(secret.retire_after, cluster.clock):
        remove = partial(cluster.delete, SECRETS, secret.name, namespace, uid=secret.uid)
        _remove(display, None if dry_run else remove, result, (namespace, secret.uid))


def _remove(
    display: str,
    remove: Callable[[], bool] | None,
    result: ReapResult,
    secret_id: tuple[str, str] | None,
) -> None:
    """Remove an object (None: only report it), and record the outcome."""
    if display in result.deleted:
        return  # a retired Secret of an identity that has expired, too
    try:
        if remove is None or remove():
            result.deleted.append(display)
            result.secrets += [secret_id] if secret_id is not None else []
    except ConflictError:
        return  # replaced in the meantime: left to the next run
    except DaypassError as error:
        result.errors.append(error)


def _check_time(display: str, annotation: str, time: str | None, result: ReapResult) -> None:
    if time is not None and parse_rfc3339(time) is None:
        result.errors.append(
            ReapError(
                f"{display}: {annotation} is not a valid time: {printable(time, 40)!r}",
                "write it as 2026-11-24T16:00:00Z",
            )
        )


def reaper_objects(*, home: str, namespace: str | None, image: str) -> list[Object]:
    """Return ServiceAccount, role, binding and CronJob, to run in the namespace `home`.

    They reap one namespace, or (None) all. `image` has `daypass[admin]` for its `python`.
    """
    kind = "Role" if namespace else "ClusterRole"
    return [
        _new_object("v1", "ServiceAccount", home),
        {**_new_object(f"{RBAC_GROUP}/v1", kind, namespace), "rules": _rules()},
        {
            **_new_object(f"{RBAC_GROUP}/v1", f"{kind}Binding", namespace),
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": _NAME},
            "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": home}],
        },
        {
            **_new_object("batch/v1", "CronJob", home),
            "spec": {
                "schedule": _SCHEDULE,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 300,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 1,
                        "activeDeadlineSeconds": 300,
                        "template": {
                            "metadata": {"labels": dict(_LABELS)},
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
    scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    return {
        "serviceAccountName": _NAME,
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
                "command": ["python", "-m", "daypass", "identity", "reap", *scope],
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


def _new_object(api_version: str, kind: str, namespace: str | None) -> Object:
    place = {"namespace": namespace} if namespace else {}
    metadata = {"name": _NAME, **place, "labels": dict(_LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
