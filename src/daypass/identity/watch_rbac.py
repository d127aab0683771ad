"""Whether the gate of a cluster sees what is deleted in a namespace: a Role for its watch there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from daypass._core import labels
from daypass.identity.model import Account, IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import (
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Object,
    name_of,
)
from daypass.render.objects import GATE_LABEL, GATE_WATCH
from daypass.render.rbac import namespace_rights

GATES = f"{GATE_LABEL}=true"
"""Selects the namespaces where gates keep their record. Labels of namespaces are for admins."""


def gate_homes(cluster: Cluster) -> list[str]:
    """The namespaces of gates. Raises ForbiddenError."""
    return sorted(map(name_of, cluster.list(NAMESPACES, labels=GATES, metadata_only=True)))


def let_watch(
    cluster: Cluster, namespace: str, home: str | None, warn: Callable[[str, str], None]
) -> None:
    """Give the watch of a gate what it needs in a namespace, if there is a gate.

    `home`: the watch's namespace by the config; None: as the cluster knows it.
    """
    try:
        homes = gate_homes(cluster) if home is None else [home]
    except ForbiddenError:
        return  # whoever may not see namespaces has been told so about the policy
    for each in homes:
        try:
            for document in namespace_rights(namespace, each):
                cluster.apply(document, force=True)
        except ForbiddenError as error:
            warn(f"the gate may not look at {namespace}, and will take no token of it", error.hint)


def stop_watching(cluster: Cluster, gone: IdentityName, warn: Callable[[str, str], None]) -> bool:
    """Take the watch's rights in a namespace back with the last identity there; was it the last?"""
    try:
        found = cluster.list(
            SERVICE_ACCOUNTS, gone.namespace, labels=labels.SELECTOR, metadata_only=True
        )
        accounts = [Account.read(each) for each in found]
        if any(account.is_ours and account.name != gone for account in accounts):
            return False
        for resource in (ROLE_BINDINGS, ROLES):
            cluster.delete(resource, GATE_WATCH, gone.namespace)
    except ForbiddenError as error:
        warn(f"the gate's rights in {gone.namespace} are not yours to take back", error.hint)
        return False
    return True


def unwatched(namespace: str, roles: Iterable[Object], bindings: Iterable[Object]) -> bool:
    """Whether the Role for the watch, or its binding, is missing in a namespace."""
    return not all(
        any(
            name_of(each) == GATE_WATCH and each["metadata"]["namespace"] == namespace
            for each in objects
        )
        for objects in (roles, bindings)
    )
