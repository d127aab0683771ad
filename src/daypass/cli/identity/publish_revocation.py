"""Telling the gate of a cluster what a command has ended, so that nobody waits for its watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from daypass._core.hints import kubectl
from daypass.cli import log, warn

if TYPE_CHECKING:
    from daypass.kube.cluster import Cluster


def publish_secrets(cluster: Cluster, secrets: Iterable[tuple[str, str]]) -> bool:
    """The same for Secrets alone, by namespace and UID."""
    return publish_ended(cluster, secrets, ())


def publish_ended(
    cluster: Cluster, secrets: Iterable[tuple[str, str]], accounts: Iterable[tuple[str, str]]
) -> bool:
    """Have the gate refuse what hung on these Secrets and ServiceAccounts (namespaces and UIDs).

    False where there is a gate that could not be told; what keeps it from being done is said.
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
            "whether there is a gate in this cluster is not yours to see: it is not told",
            "its watch sees it by itself, within a second",
        )
        return True
    told = False
    for home in homes:
        try:
            told = publish_once(cluster, home, ended) or told
        except DaypassError as error:
            warn(
                f"the gate was not told, and refuses these tokens once its watch has seen it:"
                f" {error.fact}",
                f"{error.hint}\nis one running? "
                + kubectl("get", "lease", "daypass-gate-watch", "-n", home),
            )
            return False
    if told:
        log("the gate refuses what hung on it from now on, on open connections as well")
    return True
