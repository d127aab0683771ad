"""Holding a namespace to the policy: the label, and whether anything acts upon it."""

from __future__ import annotations

from collections.abc import Callable

from daypass._core.hints import command, kubectl
from daypass.identity import marks
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import is_embedded
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import NAMESPACES, VALIDATING_ADMISSION_POLICY_BINDINGS
from daypass.render.policy.marks import KUBE_SYSTEM, NAME, SERVICE_ACCOUNT

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
            label = {"metadata": {"labels": {marks.POLICY: marks.POLICY_ON}}}
            cluster.patch(NAMESPACES, namespace, label)
            warn(f"the namespace {namespace} is held to the policy from now on, others' tokens too")
    except ForbiddenError:
        warn(
            f"the namespace {namespace} is not yours to label for the policy",
            f"{VOLUNTARY}. An admin can do it, if it is not done:\n"
            + kubectl("label", "namespace", namespace, f"{marks.POLICY}={marks.POLICY_ON}"),
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
        "where that is not meant: " + kubectl("label", "namespace", namespace, f"{marks.POLICY}-"),
    )


def is_held(cluster: Cluster, namespace: str) -> bool:
    """Whether a namespace has the label. Raises NotFoundError, ForbiddenError."""
    labels = cluster.get(NAMESPACES, namespace)["metadata"].get("labels") or {}
    return bool(labels.get(marks.POLICY) == marks.POLICY_ON)


def _ignore(*_: str) -> None:
    """Tell nobody."""


def _warn_without_policy(cluster: Cluster, warn: Callable[..., None]) -> None:
    try:
        if cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, NAME) is None:
            warn(
                "no policy is installed in this cluster",
                f"{VOLUNTARY}:\n" + command("policy", "apply"),
            )
    except ForbiddenError:
        return  # only admins of the cluster may see it, and only they could install it
