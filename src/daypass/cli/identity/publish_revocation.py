"""Publish a revocation to the cluster's gate immediately, instead of waiting for its watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from daypass._core.hints import kubectl
from daypass.cli import log, warn

if TYPE_CHECKING:
    from daypass.kube.cluster import Cluster


def publish_secrets(cluster: Cluster, secrets: Iterable[tuple[str, str]]) -> bool:
    """Do the same for Secrets only, by namespace and UID."""
    return publish_ended(cluster, secrets, ())


def publish_ended(
    cluster: Cluster, secrets: Iterable[tuple[str, str]], accounts: Iterable[tuple[str, str]]
) -> bool:
    """Have the gate refuse tokens bound to these Secrets and ServiceAccounts (namespaces and UIDs).

    Returns False, after a warning, if there is a gate and it could not be updated.
    """
    from daypass._core.errors import DaypassError
    from daypass.gate.revocation.publish_once import DeletedObject, publish_once
    from daypass.gate.revocation.revocation_list import ObjectKind
    from daypass.identity.namespaces import gate_namespaces
    from daypass.kube.errors import ForbiddenError

    ended = [
        DeletedObject(kind=kind, namespace=namespace, uid=uid)
        for kind, found in ((ObjectKind.SECRET, secrets), (ObjectKind.SERVICE_ACCOUNT, accounts))
        for namespace, uid in found
    ]
    if not ended:
        return True
    try:
        homes = gate_namespaces(cluster)
    except ForbiddenError:
        warn(
            "you may not see whether this cluster has a gate: it was not updated",
            "its watch sees the revocation within a second",
        )
        return True
    published = False
    for home in homes:
        try:
            published = publish_once(cluster, home, ended) or published
        except DaypassError as error:
            warn(
                f"the gate was not updated, and refuses these tokens once its watch has seen it:"
                f" {error.fact}",
                f"{error.hint}\nis one running? "
                + kubectl("get", "lease", "daypass-gate-watch", "-n", home),
            )
            return False
    if published:
        log("the gate now refuses the tokens bound to it, on open connections too")
    return True
