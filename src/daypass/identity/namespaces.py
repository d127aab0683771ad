"""What an identity needs of its namespace: the policy's label, and a Role for the gate's watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from daypass._core import labels
from daypass._core.hints import command, kubectl
from daypass._core.labels import KUBE_SYSTEM, POLICY_NAME, SERVICE_ACCOUNT
from daypass.identity.model import Account, IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import is_embedded
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import (
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    Object,
    name_of,
)
from daypass.render.objects import GATE_LABEL, GATE_WATCH
from daypass.render.rbac import namespace_rights

VOLUNTARY = (
    "without it, binding is voluntary: whoever holds the long-lived token can make short-lived ones"
    " that outlive it"
)


def hold_to_policy(cluster: Cluster, namespace: str, warn: Callable[..., None]) -> None:
    """Label a namespace for the policy, and warn where that is not possible or has no effect.

    Raises NotFoundError where there is no such namespace, as far as that can be seen.
    """
    if is_embedded(cluster):  # it enforces no policy: nothing of what follows is true there
        warn = _ignore
    try:
        if not is_held(cluster, namespace):
            label = {"metadata": {"labels": {labels.POLICY: labels.POLICY_ENFORCED}}}
            cluster.patch(NAMESPACES, namespace, label)
            warn(f"the namespace {namespace} is held to the policy from now on, others' tokens too")
    except ForbiddenError:
        warn(
            f"the namespace {namespace} is not yours to label for the policy",
            f"{VOLUNTARY}. An admin can do it, if it is not done:\n"
            + kubectl("label", "namespace", namespace, f"{labels.POLICY}={labels.POLICY_ENFORCED}"),
        )
    if f"{SERVICE_ACCOUNT}{namespace}:" == KUBE_SYSTEM:
        warn("the policy lets ServiceAccounts of kube-system do as they like", VOLUNTARY)
    _warn_without_policy(cluster, warn)


def warn_of_label(cluster: Cluster, namespace: str, warn: Callable[..., None]) -> None:
    """Say that a namespace without identities is still held: others' tokens may count on it."""
    try:
        if not is_held(cluster, namespace) or is_embedded(cluster):
            return
    except (ForbiddenError, NotFoundError):
        return
    warn(
        f"the namespace {namespace} has no identity left, and is still held to the policy",
        "where that is not meant: " + kubectl("label", "namespace", namespace, f"{labels.POLICY}-"),
    )


def is_held(cluster: Cluster, namespace: str) -> bool:
    """Whether a namespace has the label. Raises NotFoundError, ForbiddenError."""
    found = cluster.get(NAMESPACES, namespace)["metadata"].get("labels") or {}
    return bool(found.get(labels.POLICY) == labels.POLICY_ENFORCED)


def _ignore(*_: str) -> None:
    """Tell nobody."""


def _warn_without_policy(cluster: Cluster, warn: Callable[..., None]) -> None:
    try:
        if cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, POLICY_NAME) is None:
            warn(
                "no policy is installed in this cluster",
                f"{VOLUNTARY}:\n" + command("policy", "apply"),
            )
    except ForbiddenError:
        return  # only admins of the cluster may see it, and only they could install it


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
