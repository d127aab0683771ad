"""The admission policy in a running cluster, and what a namespace with identities needs: the
policy's label, and a Role for the gate's watch.

The label makes the API server enforce the policy on TokenRequests in the namespace. With the Role,
the gate's watch sees which Secrets are deleted there; without it, the gate accepts no token of the
namespace.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from functools import partial

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import SHORTEST_TOKEN_SECONDS
from daypass.config.settings import Policy
from daypass.gate.publication import gate_namespaces
from daypass.identity.accounts import Account, IdentityName, Warn, list_identities
from daypass.identity.credentials_file import CredentialsSettings
from daypass.kube.cluster import Cluster, Waiter
from daypass.kube.errors import AlreadyExistsError, ApiError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from daypass.render.names import GATE_WATCH
from daypass.render.policy import (
    Requester,
    TokenRequestAttributes,
    broken_rules,
    policy_objects,
)
from daypass.render.rbac import namespace_rights

SETTLE_SECONDS = 2.0
"""Each API server reloads changed policies once a second (policyRefreshIntervalDefault in
k8s.io/apiserver/pkg/admission/plugin/policy/generic)."""

_VOLUNTARY = "without it, binding is voluntary: a client can request tokens that no revocation ends"

_DENIED = re.compile(
    f"ValidatingAdmissionPolicy '{labels.POLICY_NAME}' with binding '[^']*' denied request: ([^:]*)"
)


def wait_until_enforced(waiter: Waiter, policy: Policy) -> None:
    """Return once a policy that was just applied is compiled and enforced.

    Raises NotReadyError, and DaypassError for fields that somebody has added, and for expressions
    that the API server warns about.
    """
    cluster = waiter.cluster
    for document in policy_objects(policy):
        resource = cluster.resource(document)
        _refuse_additions(document, cluster.get(resource, name_of(document)))
    waiter.wait(
        "the policy",
        partial(_compiled, cluster),
        "is kube-controller-manager running (validatingadmissionpolicy-status-controller)?",
    )
    cluster.sleep(SETTLE_SECONDS)


def require_allowed(
    cluster: Cluster,
    policy: Policy,
    name: IdentityName,
    credentials: CredentialsSettings,
    is_federated: bool,
) -> None:
    """Raise UsageError if the config's policy denies an identity the tokens that it would request.

    A Namespace that is missing or may not be read has no annotations.
    """
    document: Object = {"metadata": {}}
    with suppress(ForbiddenError, NotFoundError):
        document = cluster.get(NAMESPACES, name.namespace, metadata_only=True)
    request = TokenRequestAttributes(
        requester=Requester(user=labels.FEDERATED_PREFIX if is_federated else name.user),
        service_account=name.name,
        audiences=(credentials.audience,),
        lifetime_seconds=credentials.lifetime_seconds,
        annotations=document["metadata"].get("annotations") or {},
    )
    if policy.mode != "deny" or not cluster.serves(VALIDATING_ADMISSION_POLICIES):
        return
    for rule in broken_rules(policy, request):
        if rule != "binding":  # the client binds its tokens
            raise UsageError(
                f"the policy refuses tokens of {name} for {credentials.audience} that live"
                f" {credentials.lifetime_seconds} seconds: rule {rule}",
                "name another --audience or --lifetime, or change `policy` in the config or the"
                f" annotations {labels.OVERRIDES}* of the Namespace",
            )


def denies_unbound_tokens(
    cluster: Cluster, account: Account, users: Sequence[str] | None, remedy: str, warn: Warn
) -> bool:
    """Return whether the policy is seen to deny an identity tokens that are bound to nothing, which
    no revocation ends. Otherwise, or if the user may not impersonate it, warns.

    `users`: of a federated identity that keeps its rights. `remedy`: the command that ends them.
    """
    name = account.name
    rules = {_denying_rule(cluster, account, user) for user in users or (name.user,)}
    if rules <= {"binding", "overrides"}:
        return True
    left = f"{', '.join(users)} can still get some, and all" if users else "those that it has"
    warn(
        f"no policy is seen to deny {name} tokens that are bound to nothing: {left} work at the API"
        " server, and at gates that accept such tokens, until they expire, even for years",
        f"this ends that: {remedy}",
    )
    return False


def _denying_rule(cluster: Cluster, account: Account, user: str) -> str:
    """Return the rule of the policy that denies a user a token bound to nothing; "" if none does.

    The API server makes no token: it resolves `boundObjectRef` after all admission and before it
    signs. An empty reference is none to policies, and refused there, for its missing kind.
    """
    name = account.name
    spec = {
        "audiences": [account.annotations.get(labels.AUDIENCE, labels.DOMAIN)],
        "expirationSeconds": SHORTEST_TOKEN_SECONDS,
        "boundObjectRef": {},
    }
    try:
        cluster.request(
            "POST",
            SERVICE_ACCOUNTS.path(name.namespace, name.name, "token"),
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            what=f"ask for a token of {name}",
            headers={"Impersonate-User": user},
        )
    except ApiError as error:
        denied = _DENIED.search(error.status.message)
        return denied[1] if denied else ""
    return ""


def _refuse_additions(document: Object, found: Object) -> None:
    """Raise DaypassError for fields that somebody has added: they outlive server-side apply."""
    wanted, there = document["spec"], found.get("spec") or {}
    fields = sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))
    if fields:
        kind = document["kind"]
        raise DaypassError(
            f"somebody has added to spec.{', spec.'.join(fields)} of the cluster's {kind}",
            "delete it, then apply again:\n" + kubectl("delete", kind.lower(), name_of(document)),
        )


def _compiled(cluster: Cluster) -> str | None:
    found = cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    status = found.get("status") or {}
    warnings = (status.get("typeChecking") or {}).get("expressionWarnings") or []
    if warnings:
        raise DaypassError(
            f"the API server warns about {warnings[0]['fieldRef']}: {warnings[0]['warning']}"
        )
    is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return None if is_seen else "it is applied, and the cluster has not compiled it yet"


def release_namespace(cluster: Cluster, deleted: IdentityName, warn: Warn) -> None:
    """Remove the watcher's rights with the last identity; the policy's label stays."""
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
            undo = "to undo: " + kubectl("label", "namespace", namespace, f"{labels.POLICY}-")
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
        warn(
            f"you may not list Namespaces: whether a gate has to watch {namespace} is unknown",
            "if the cluster has a gate, it refuses all tokens of this namespace until it may watch"
            " it:\nrun this again with --config FILE, the daypass.yaml of the gate",
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
