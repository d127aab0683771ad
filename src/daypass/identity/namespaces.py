"""What a namespace with identities needs: the policy's label, and a Role for the gate's watcher.

The label makes the API server enforce the policy on TokenRequests in the namespace. With the Role,
the gate's watcher sees which Secrets are deleted there; without it, the gate accepts no token of
the namespace.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress

from daypass._core.hints import command, kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass.gate.publication import gate_namespaces
from daypass.identity.model import IdentityName, Warn, list_identities
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from daypass.render.names import GATE_WATCH
from daypass.render.rbac import namespace_rights

_VOLUNTARY = "without it, binding is voluntary: a client can request tokens that no revocation ends"


def release_namespace(cluster: Cluster, deleted: IdentityName, warn: Warn) -> None:
    """Remove the watcher's rights with the last identity; warn that the policy's label stays."""
    namespace = deleted.namespace
    try:
        if any(account.name != deleted for account in list_identities(cluster, namespace)):
            return
        for resource in (ROLE_BINDINGS, ROLES):
            ours = cluster.list(resource, namespace, labels=labels.SELECTOR, metadata_only=True)
            if GATE_WATCH in map(name_of, ours):
                cluster.delete(resource, GATE_WATCH, namespace)
    except ForbiddenError as error:
        warn(f"you may not remove the gate's rights in {namespace}", error.hint)
        return
    if cluster.dry_run:
        return
    with suppress(ForbiddenError, NotFoundError):
        labelled = labels.has_policy_label(cluster.get(NAMESPACES, namespace))
        if labelled and cluster.serves(VALIDATING_ADMISSION_POLICIES):
            warn(
                f"namespace {namespace} has no identity left, and the policy is still enforced"
                " there",
                f"to stop that: {_unlabel(namespace)}",
            )


def enforce_policy(cluster: Cluster, namespace: str, warn: Warn) -> None:
    """Label a namespace for the policy; warn if that fails or has no effect.

    Raises NotFoundError if the namespace is missing and may be read.
    """
    if not cluster.serves(VALIDATING_ADMISSION_POLICIES):  # no warning would be true
        warn = _ignore
    try:
        if not labels.has_policy_label(cluster.get(NAMESPACES, namespace)):
            label = {"metadata": {"labels": {labels.POLICY: labels.POLICY_ENFORCED}}}
            cluster.patch(NAMESPACES, namespace, label)
            fact = f"the policy is now enforced in namespace {namespace},"
            undo = "to undo: " + _unlabel(namespace)
            if cluster.dry_run:
                fact, undo = f"would label Namespace {namespace}: {labels.POLICY_SELECTOR},", ""
            warn(f"{fact} for the tokens of its other ServiceAccounts, too", undo)
    except ForbiddenError:
        warn(
            f"you may not label the namespace {namespace} for the policy",
            f"{_VOLUNTARY}. If it has no label yet, an administrator can set it:\n"
            + kubectl("label", "namespace", namespace, labels.POLICY_SELECTOR),
        )
    if f"{labels.SERVICE_ACCOUNT}{namespace}:" == labels.KUBE_SYSTEM:
        warn("the policy does not apply to ServiceAccounts of kube-system", _VOLUNTARY)
    with suppress(ForbiddenError):  # only cluster administrators may read it, and can install it
        if cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, labels.POLICY_NAME) is None:
            warn(
                "no policy is installed in this cluster",
                f"{_VOLUNTARY}:\n" + command("apply"),
            )


def _ignore(fact: str, hint: str) -> None:
    """Show no warning."""


def _unlabel(namespace: str) -> str:
    return kubectl("label", "namespace", namespace, f"{labels.POLICY}-")


def enforced_in(namespaces: Iterable[Object]) -> set[str]:
    """Return the names of those Namespaces in which the policy is enforced."""
    return {name_of(each) for each in namespaces if labels.has_policy_label(each)}


def watched_by(homes: Container[str], bindings: Iterable[Object]) -> set[str]:
    """Return the namespaces in which a RoleBinding is for a gate's watch in one of these."""
    return {
        binding["metadata"]["namespace"]
        for binding in bindings
        if name_of(binding) == GATE_WATCH
        and any(each.get("namespace") in homes for each in binding.get("subjects") or ())
    }


def grant_watch(
    cluster: Cluster, namespace: str, watcher_namespace: str | None, warn: Warn
) -> None:
    """Let gates watch a namespace, and warn about what can't be done.

    `watcher_namespace`: where the gate's watcher runs, if the config names it. Raises NotFoundError
    if there is no such namespace.
    """
    try:
        found = [watcher_namespace] if watcher_namespace else gate_namespaces(cluster)
    except ForbiddenError:
        watched = None
        with suppress(ForbiddenError):
            watched = cluster.find(ROLE_BINDINGS, GATE_WATCH, namespace)
        if watched is None:
            warn(
                f"you may not list Namespaces: whether a gate has to watch {namespace} is unknown",
                "if the cluster has a gate, it refuses all tokens of this namespace until it may"
                " watch it:\nrun this again with --config FILE, the daypass.yaml of the gate",
            )
        return
    for each in found:
        try:
            for document in namespace_rights(namespace, each):
                cluster.apply(document, force=True)
        except NotFoundError:
            if not cluster.dry_run:
                raise  # else the RoleBinding's Role, which a dry run has not created
        except ForbiddenError as error:
            warn(f"the gate may not watch {namespace}, and will accept no token of it", error.hint)


def create(cluster: Cluster, name: str) -> bool:
    """Create a namespace; return whether it was missing."""
    if cluster.dry_run and cluster.find(NAMESPACES, name) is not None:
        return False
    try:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except AlreadyExistsError:
        return False
    return True
