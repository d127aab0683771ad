"""Publish a revocation at a cluster's gate immediately, instead of waiting for its watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from daypass._core.hints import kubectl
from daypass.cli import log, warn
from daypass.cli.output import did

if TYPE_CHECKING:
    from daypass.gate.revocation.publish_once import DeletedObject
    from daypass.kube.cluster import Cluster


def publish_deleted(
    cluster: Cluster, secrets: Iterable[tuple[str, str]], accounts: Iterable[tuple[str, str]] = ()
) -> bool:
    """Have the gate refuse tokens bound to these Secrets and ServiceAccounts (namespaces and UIDs).

    Returns False, after a warning, if there is a gate and it could not be updated.
    """
    from daypass.gate.revocation.publish_once import DeletedObject
    from daypass.gate.revocation.revocation_list import ObjectKind
    from daypass.identity.namespaces import gate_namespaces
    from daypass.kube.errors import ForbiddenError

    deleted = [
        DeletedObject(kind=kind, namespace=namespace, uid=uid)
        for kind, found in ((ObjectKind.SECRET, secrets), (ObjectKind.SERVICE_ACCOUNT, accounts))
        for namespace, uid in found
    ]
    if not deleted:
        return True
    try:
        namespaces = gate_namespaces(cluster)
    except ForbiddenError:
        warn(
            "you may not see whether this cluster has a gate: it was not updated",
            "its watch sees the revocation within a second",
        )
        return True
    return all(update_gate(cluster, namespace, deleted) for namespace in namespaces)


def update_gate(cluster: Cluster, namespace: str, deleted: Iterable[DeletedObject] = ()) -> bool:
    """Publish these deletions, and all denials by hand, at the gate with its state in a namespace.

    Returns False, after a warning, if there is a gate and it could not be updated.
    """
    from daypass._core.errors import DaypassError
    from daypass.gate.revocation.publish_once import publish_once

    try:
        if cluster.dry_run == "client" or publish_once(cluster, namespace, deleted):
            log(f"{did(cluster.dry_run, 'update', 'updated')} the gate, for open connections too")
    except DaypassError as error:
        warn(
            f"the gate was not updated, and changes once its watch has seen it: {error.fact}",
            f"{error.hint}\nis one running? "
            + kubectl("get", "lease", "daypass-gate-watch", "-n", namespace),
        )
        return False
    return True
