"""Deleting what has expired: identities after their deadline, and Secrets after a rotation.

An identity whose deadline has passed loses its tokens and all its rights, in the order of a
deletion. Its ServiceAccount stays, so that lists still show it. `create --expires` activates it
again, `delete` removes the rest. An identity whose ServiceAccount has lost daypass's label or
annotation still has its Secrets, and so its deadline.

`reaper_objects` is a CronJob that runs `daypass identity reap`, with the rights that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from daypass._core.clock import is_past, parse_rfc3339
from daypass._core.errors import DaypassError
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, new_object
from daypass._core.text import printable
from daypass.identity.authorize import warn_of_open_pods
from daypass.identity.credential_secrets import CredentialSecret, our_secrets
from daypass.identity.delete import (
    OwnedObject,
    find_owned_objects,
    owned_by,
    policies_in,
)
from daypass.identity.model import Account, Warn, list_identities
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import SERVICE_ACCOUNTS
from daypass.render.deployment import Workload
from daypass.render.rbac import reaper_rbac

_NAME = "daypass-reap"
_SCHEDULE = "*/10 * * * *"


@dataclass(slots=True, kw_only=True)
class ReapResult:
    """Keys of the identities that have expired, the objects deleted, and the errors."""

    expired: list[str] = field(default_factory=list)
    deleted: list[OwnedObject] = field(default_factory=list)
    errors: list[DaypassError] = field(default_factory=list)


def reap(
    cluster: Cluster,
    namespace: str | None,
    *,
    warn: Warn,
    show: Callable[[str], object] = lambda text: None,
) -> ReapResult:
    """Delete what has expired in a namespace or (None) in all.

    `show` gets each object before it is deleted.

    Raises ApiError if objects can't be listed; a failed deletion is among the result's errors.
    """
    result = ReapResult()
    secrets = our_secrets(cluster, namespace)
    for secret in secrets:
        retired = OwnedObject.secret(secret)
        _check_time(retired.display, labels.RETIRE_AFTER, secret.retire_after, result)
        if is_past(secret.retire_after, cluster.clock):
            _remove(cluster, retired, result, show)
    identities = list_identities(cluster, namespace)
    identities += _unmarked(cluster, secrets, identities)
    for account in identities:
        deadline = account.annotations.get(labels.DEADLINE)
        _check_time(f"identity {account.name}", labels.DEADLINE, deadline, result)
    expired = [account.name for account in identities if account.has_expired(cluster.clock)]
    found = find_owned_objects(cluster, namespace, warn) if expired else []
    for name in expired:
        owned = owned_by(name, found)
        result.expired += [name.key] if owned else []
        for each in owned:
            _remove(cluster, each, result, show)
        warn_of_open_pods(cluster, policies_in(owned), warn)
    return result


def _unmarked(
    cluster: Cluster, secrets: Iterable[CredentialSecret], identities: Iterable[Account]
) -> list[Account]:
    """Return the ServiceAccounts that have Secrets of an identity, and are not marked as one."""
    names = {secret.account for secret in secrets} - {account.name for account in identities}
    found = [
        cluster.list(
            SERVICE_ACCOUNTS,
            name.namespace,
            fields=f"metadata.name={name.name}",
            metadata_only=True,
        )
        for name in sorted(names)
    ]
    return [Account.read(document) for documents in found for document in documents]


def _remove(
    cluster: Cluster, owned: OwnedObject, result: ReapResult, show: Callable[[str], object]
) -> None:
    if owned in result.deleted:
        return  # a retired Secret of an identity that has expired, too
    show(f"deleting {owned.display}")
    try:
        if owned.remove(cluster):
            result.deleted.append(owned)
    except ConflictError:
        return  # replaced in the meantime: left to the next run
    except DaypassError as error:
        result.errors.append(error)


def _check_time(display: str, annotation: str, time: str | None, result: ReapResult) -> None:
    if time is not None and parse_rfc3339(time) is None:
        result.errors.append(
            DaypassError(
                f"{display}: {annotation} is not a valid time: {printable(time, 40)!r}",
                "write it as 2026-11-24T16:00:00Z",
            )
        )


def reaper_objects(*, home: str, namespace: str | None, image: str) -> list[Object]:
    """Return ServiceAccount, role, binding and CronJob, to run in the namespace `home`.

    They reap one namespace, or (None) all. `image` has `daypass[admin]` for its `python`.
    """
    scope = ("--namespace", namespace) if namespace else ("--all-namespaces",)
    workload = Workload(
        name=_NAME,
        container="reap",
        image=image,
        # It needs no right to read what gates publish.
        command=("python", "-m", "daypass", "identity", "reap", "--no-wait", *scope),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    job = {
        "backoffLimit": 1,
        "activeDeadlineSeconds": 300,
        "template": {"metadata": {"labels": dict(labels.OWNED)}, "spec": workload.job_pod()},
    }
    spec = {
        "schedule": _SCHEDULE,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 300,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }
    return [
        new_object("v1", "ServiceAccount", _NAME, home),
        *reaper_rbac(_NAME, home, namespace or ""),
        new_object("batch/v1", "CronJob", _NAME, home, spec=spec),
    ]
