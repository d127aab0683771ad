"""Granting roles and models to an identity, and taking them away.

`plan` changes nothing, and `apply` lets the API server check all objects (`dryRun=All`) before it
creates any. After an interruption, `daypass identity list` shows the half grant, and the same
command completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of, uid_of
from daypass.identity.accounts import (
    IdentityName,
    Warn,
    get_identity,
    is_owned_by,
    token_right_names,
)
from daypass.identity.create import dry_run
from daypass.identity.grants import (
    GRANTED,
    KUBEFLOW,
    KUBEFLOW_ROLES,
    TRUST_DOMAIN,
    Grant,
    Selector,
    TrustedHeader,
    find_model,
    model_grant,
    read_grant,
    selector_of,
)
from daypass.identity.roles import EVERY_MODEL, MODEL_KINDS, find_risks
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    CLUSTER_ROLES,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    Resource,
)

if TYPE_CHECKING:
    from daypass.config import Gate


class RiskyRoleError(DaypassError):
    """A role gives access to more than it seems to, and the user has not confirmed it."""


def model_grants(
    cluster: Cluster,
    identity: IdentityName,
    models: Iterable[tuple[str, str]],
    *,
    ignore_not_found: bool,
    warn: Warn,
) -> list[Grant]:
    """Return the right to call each of these models, by namespace and name.

    `ignore_not_found`: if there is no such model, both kinds may have it later. Raises
    NotFoundError (the namespace), ModelNotFoundError.
    """
    grants = []
    for namespace, name in models:
        found = find_model(cluster, namespace, name, ignore_not_found=ignore_not_found)
        plurals = tuple(found or MODEL_KINDS)
        if len(plurals) > 1:
            shown = " and an ".join(MODEL_KINDS[plural] for plural in plurals)
            verb = "there is" if found else "there may later be"
            warn(f"{verb} an {shown} {namespace}/{name}", "each may be called")
        grants.append(model_grant(identity, namespace, name, plurals))
    return grants


def header_of_gate(cluster: Cluster, name: str, gate: Gate) -> TrustedHeader:
    """Return the header in which a gate passes on the user, and who sets it: its gateway's Pods.

    Raises UsageError if there are none.
    """
    from daypass.config import IstioGate

    if not isinstance(gate, IstioGate):
        raise UsageError(
            f"gate {name} is not at a gateway of Istio, so its gateway may have no principal",
            "name the one that its Pods have, if any: --principal P",
        )
    namespace = gate.gateway_namespace
    selector = labels.selector(gate.gateway_labels)
    pods = list[Object]()
    with suppress(NotFoundError):  # an API server without Pods
        pods = cluster.list(PODS, namespace, labels=selector)
    accounts = {pod["spec"].get("serviceAccountName") or "default" for pod in pods}
    if not accounts:
        raise UsageError(
            f"the gateway of gate {name} has no Pods: none in {namespace} has {selector}",
            "check the gate's gatewayNamespace and gatewayLabels, or name its principal:"
            " --principal cluster.local/ns/NS/sa/NAME",
        )
    principals = (f"{TRUST_DOMAIN}/ns/{namespace}/sa/{each}" for each in sorted(accounts))
    return TrustedHeader(header=gate.headers.user, principals=tuple(principals))


def plan(
    cluster: Cluster,
    grants: Sequence[Grant],
    *,
    trusted: TrustedHeader = KUBEFLOW,
    accept_risks: bool = False,
    warn: Warn,
) -> list[Object]:
    """Return the objects to create; nothing is changed. Without Istio, there are no policies.

    `accept_risks`: the user has confirmed what a role gives access to. Raises
    IdentityNotFoundError, NotFoundError (a namespace, the ClusterRole), RiskyRoleError.
    """
    for identity in dict.fromkeys(grant.identity for grant in grants):
        get_identity(cluster, identity)
    namespaces = dict.fromkeys(grant.namespace for grant in grants)
    for namespace in namespaces:
        cluster.get(NAMESPACES, namespace)
    has_istio = cluster.serves(AUTHORIZATION_POLICIES)
    for role in dict.fromkeys(grant.cluster_role for grant in grants if grant.cluster_role):
        _check_risks(cluster, role, warn, are_accepted=accept_risks)
    documents: list[Object] = []
    for namespace in namespaces:
        bindings = cluster.list(ROLE_BINDINGS, namespace)
        policies = cluster.list(AUTHORIZATION_POLICIES, namespace) if has_istio else []
        for grant in grants:
            if grant.namespace == namespace:
                name = _free_name(grant, [*bindings, *policies])
                planned = grant.objects(name, trusted if has_istio else None)
                _warn_of_wider_grants(grant, bindings, warn)
                _warn_of_first_policies(grant, policies, planned, warn)
                documents += planned
                policies += (each for each in planned if "spec" in each)
    return documents


def apply(cluster: Cluster, documents: Sequence[Object]) -> list[Object]:
    """Create what was planned, after the API server has accepted a dry run of all of it.

    Takes over fields that another field manager has set: the objects are daypass's own.
    """
    checked = dry_run(cluster, documents, force=True)
    if cluster.dry_run:
        return checked
    return [cluster.apply(document, force=True) for document in documents]


def unauthorize(
    cluster: Cluster,
    identity: IdentityName,
    namespaces: Sequence[str] | None,
    is_meant: Callable[[Object], bool] = lambda document: True,
    *,
    warn: Warn,
) -> list[str]:
    """Remove an identity's grants in these namespaces or (None) in all; return what was removed.

    `is_meant`: whether to remove an object of a grant. May be repeated after an interruption.
    """
    removed, opened = list[str](), list[Object]()
    for resource, document in list(_granted_objects(cluster, identity, namespaces)):
        namespace, name = document["metadata"]["namespace"], name_of(document)
        if is_meant(document) and cluster.delete(resource, name, namespace, uid=uid_of(document)):
            removed.append(resource.named(namespace, name))
            opened += [document] if resource is AUTHORIZATION_POLICIES else []
    warn_of_open_pods(cluster, opened, warn)
    return removed


def _granted_objects(
    cluster: Cluster, identity: IdentityName, namespaces: Sequence[str] | None
) -> Iterator[tuple[Resource, Object]]:
    own = token_right_names(identity.name)
    for resource in GRANTED:
        for namespace in namespaces if namespaces is not None else (None,):
            try:
                found = cluster.list(resource, namespace, labels=labels.SELECTOR)
            except NotFoundError:
                continue  # the cluster has no Istio
            for each in found:
                is_its_own = _namespace_of(each) == identity.namespace and name_of(each) in own
                if is_owned_by(each, identity) and not is_its_own:
                    yield resource, each


def _open_pods(own: Iterable[Object], others: Iterable[Object]) -> list[Selector]:
    """Return the Pods of `own` AuthorizationPolicies to which none of `others` with action ALLOW
    applies: without any such policy, Istio lets all requests in.
    """
    allowing = [
        selector_of(each).items()
        for each in others
        if (each.get("spec") or {}).get("action", "ALLOW") == "ALLOW"
    ]
    pods = map(selector_of, own)
    return [each for each in pods if not any(other <= each.items() for other in allowing)]


def warn_of_open_pods(cluster: Cluster, removed: Sequence[Object], warn: Warn) -> None:
    """Warn about Pods that lose their last AuthorizationPolicy with action ALLOW.

    `removed`: policies that were removed, or in a dry run would be.
    """
    uids = set(map(uid_of, removed))
    for namespace in sorted(set(map(_namespace_of, removed))):
        found = cluster.list(AUTHORIZATION_POLICIES, namespace)
        left = [each for each in found if uid_of(each) not in uids]
        own = [each for each in removed if _namespace_of(each) == namespace]
        if opened := _open_pods(own, left):
            has = "would have" if cluster.dry_run else "has"
            warn(
                f"{namespace} {has} no AuthorizationPolicy with action ALLOW left{_for(opened)}",
                "so Istio now lets all requests in: is that intended?",
            )


def _warn_of_first_policies(
    grant: Grant, policies: Sequence[Object], planned: Iterable[Object], warn: Warn
) -> None:
    own = (each for each in planned if each["kind"] == AUTHORIZATION_POLICIES.kind)
    if closed := _open_pods(own, policies):
        to = "them" if all(closed) else "its workloads"
        warn(
            f"{grant.namespace} has no AuthorizationPolicy with action ALLOW yet{_for(closed)}",
            f"with this one, Istio refuses all requests to {to} that no such policy allows;\na"
            " Kubeflow profile has one from the start",
        )


def _for(pods: Sequence[Selector]) -> str:
    """Return which Pods a message is about; "" for all of a namespace."""
    if not all(pods):
        return ""
    shown = map(labels.selector, pods)
    return f" for Pods with {' or '.join(dict.fromkeys(shown))}"


def _namespace_of(document: Object) -> str:
    return str(document["metadata"]["namespace"])


def _check_risks(cluster: Cluster, cluster_role: str, warn: Warn, *, are_accepted: bool) -> None:
    fact = f"ClusterRole {cluster_role} gives access to more than it seems to"
    try:
        role = cluster.get(CLUSTER_ROLES, cluster_role)
        why = "\n".join(f"it {risk}" for risk in find_risks(role.get("rules") or ()))
    except NotFoundError as error:
        hint = kubectl("get", "clusterroles")
        if cluster_role in KUBEFLOW_ROLES:
            hint = "is Kubeflow installed? --cluster-role names another role"
        raise NotFoundError(error.status, error.fact, hint) from None
    except ForbiddenError:
        fact = f"the rules of ClusterRole {cluster_role} cannot be checked"
        why = "you may not read them"
    if why and not are_accepted:
        raise RiskyRoleError(fact, f"{why}\nto grant it all the same: --yes")
    if why:
        warn(fact, why)


def _free_name(grant: Grant, existing: Sequence[Object]) -> str:
    """Return the first of the grant's names that no other grant's object has."""
    *preferred, unique = grant.names
    for name in preferred:
        if all(_is_of_grant(each, grant) for each in existing if name_of(each) == name):
            return name
    return unique


def _is_of_grant(document: Object, grant: Grant) -> bool:
    role = document.get("roleRef", {}).get("name")
    return is_owned_by(document, grant.identity) and role in (None, grant.cluster_role)


def _warn_of_wider_grants(grant: Grant, bindings: Iterable[Object], warn: Warn) -> None:
    """Warn that earlier grants stay, in case the user wants to replace them."""
    found = (read_grant(each) for each in bindings if is_owned_by(each, grant.identity))
    for other in sorted(filter(None, found), key=lambda each: each.options):
        if other.model in (None, EVERY_MODEL) and other.options != grant.options:
            identity = grant.identity
            named = ("identity", "unauthorize", identity.name, "-n", identity.namespace)
            warn(
                f"{identity} keeps {other.display} in {grant.namespace}, too",
                f"to remove it: {command(*named, *other.options)}",
            )
