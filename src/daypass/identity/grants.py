"""Grants: giving an identity a ClusterRole in namespaces, and taking it away.

A grant is two objects in a namespace. A RoleBinding lets Kubernetes, and the Kubeflow APIs that ask
Kubernetes, accept the identity's requests. An AuthorizationPolicy lets Istio forward them to the
namespace's workloads. Names, annotations and form follow Kubeflow's access management, so that its
UI lists and removes them (github.com/kubeflow/dashboard, components/access-management/kfam/
bindings.go: `getBindingName`, `getAuthorizationPolicy`, `List`). Two things differ: the subject is
the ServiceAccount instead of a user, and only named principals (by default the ingress gateway) may
set the user header.

`plan` changes nothing, and `apply` lets the API server check all objects (`dryRun=All`) before it
creates any. After an interruption, `daypass identity list` shows the half grant, and the same
command completes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass._core.k8s_names import RBAC_GROUP
from daypass._core.objects import Object, name_of, new_object, uid_of
from daypass.identity.model import IdentityName, Warn, get_identity, is_owned_by
from daypass.identity.role_risks import find_risks, rules_of
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    Resource,
)

INGRESS_GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
"""The principal of Kubeflow's ingress gateway, which sets the user header."""
USER_HEADER = "kubeflow-userid"
KUBEFLOW_ROLES = {"kubeflow-view": "view", "kubeflow-edit": "edit", "kubeflow-admin": "admin"}
_LONGEST_NAME_CHARACTERS = 253
_DIGEST_CHARACTERS = 12


class RiskyRoleError(DaypassError):
    """A role gives access to more than it seems to, and the user has not confirmed it."""


class NoIstioError(DaypassError):
    """An AuthorizationPolicy is wanted without Istio, or not wanted with it."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Grant:
    """An identity, a namespace, and the ClusterRole that it has there."""

    identity: IdentityName
    namespace: str
    cluster_role: str

    @property
    def role(self) -> str | None:
        """Kubeflow's name of the role: view, edit, admin, or None for another ClusterRole."""
        return KUBEFLOW_ROLES.get(self.cluster_role)

    @property
    def kubeflow_name(self) -> str:
        """The name that Kubeflow gives both objects. Two identities may share it."""
        kind = f"clusterrole-{self.role or self.cluster_role}"
        return re.sub("[^a-z0-9]+", "-", f"user-{self.identity.user}-{kind}".lower())

    @property
    def unique_name(self) -> str:
        """A name that no other grant in the namespace has."""
        key = f"{self.identity.key}\n{self.cluster_role}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        longest = _LONGEST_NAME_CHARACTERS - _DIGEST_CHARACTERS - 1
        return f"{self.kubeflow_name[:longest]}-{digest}"

    @property
    def names(self) -> tuple[str, ...]:
        """The possible names of its objects, the preferred one first."""
        if self.role is None or len(self.kubeflow_name) > _LONGEST_NAME_CHARACTERS:
            return (self.unique_name,)
        return (self.kubeflow_name, self.unique_name)


def plan(
    cluster: Cluster,
    identity: IdentityName,
    namespaces: Sequence[str],
    cluster_role: str,
    *,
    principals: tuple[str, ...] = (INGRESS_GATEWAY,),
    header: str = USER_HEADER,
    istio: bool = True,
    accept_risks: bool = False,
    warn: Warn,
) -> list[Object]:
    """Return the objects to create; nothing is changed.

    `principals` may set `header`. `istio=False`: no AuthorizationPolicy, for a cluster without
    Istio. `accept_risks`: the user has confirmed what the role gives access to. Raises
    IdentityNotFoundError, NotFoundError (a namespace, the ClusterRole), NoIstioError,
    RiskyRoleError.
    """
    get_identity(cluster, identity)
    for namespace in namespaces:
        cluster.get(NAMESPACES, namespace)
    _check_istio(cluster, is_wanted=istio)
    _check_risks(cluster, cluster_role, warn, are_accepted=accept_risks)
    documents: list[Object] = []
    for namespace in namespaces:
        grant = Grant(identity=identity, namespace=namespace, cluster_role=cluster_role)
        bindings = cluster.list(ROLE_BINDINGS, namespace)
        policies = cluster.list(AUTHORIZATION_POLICIES, namespace) if istio else []
        name = _free_name(grant, [*bindings, *policies])
        documents.append(role_binding(grant, name))
        _warn_of_other_roles(grant, bindings, warn)
        if istio:
            documents.append(
                authorization_policy(grant, name, principals=principals, header=header)
            )
            if not allows_anything(policies):
                warn(
                    f"{namespace} has no AuthorizationPolicy with action ALLOW yet",
                    "with this one, Istio refuses all requests to its workloads that no such policy"
                    " allows;\na Kubeflow profile has one from the start",
                )
    return documents


def apply(cluster: Cluster, documents: Sequence[Object]) -> list[Object]:
    """Create what was planned, after the API server has accepted a dry run of all of it.

    Takes over fields that another field manager has set: the objects are daypass's own.
    """
    if not cluster.dry_run:
        for document in documents:
            cluster.apply(document, dry_run=True, force=True)
    return [cluster.apply(document, force=True) for document in documents]


def unauthorize(
    cluster: Cluster,
    identity: IdentityName,
    namespaces: Sequence[str] | None,
    *,
    cluster_role: str | None = None,
) -> list[str]:
    """Remove an identity's grants in these namespaces or (None) in all; return what was removed.

    `cluster_role`: only grants of it. May be repeated after an interruption.
    """
    removed = []
    for resource, document in list(_granted_objects(cluster, identity, namespaces)):
        namespace, name = document["metadata"]["namespace"], name_of(document)
        if cluster_role is not None:
            grant = Grant(identity=identity, namespace=namespace, cluster_role=cluster_role)
            if name not in grant.names:
                continue
        if cluster.delete(resource, name, namespace, uid=uid_of(document)):
            removed.append(resource.named(namespace, name))
    return removed


def _granted_objects(
    cluster: Cluster, identity: IdentityName, namespaces: Sequence[str] | None
) -> Iterator[tuple[Resource, Object]]:
    """Yield RoleBindings first: they decide what the APIs accept."""
    for resource in (ROLE_BINDINGS, AUTHORIZATION_POLICIES):
        for namespace in namespaces if namespaces is not None else (None,):
            try:
                found = cluster.list(resource, namespace, labels=labels.SELECTOR)
            except NotFoundError:
                continue  # the cluster has no Istio
            for each in found:
                # A binding to a Role is the identity's right to request its own tokens.
                if is_owned_by(each, identity) and each.get("roleRef", {}).get("kind") != "Role":
                    yield resource, each


def role_binding(grant: Grant, name: str) -> Object:
    """Return the object that lets the APIs accept the identity's requests."""
    identity = grant.identity
    subject = {"kind": "ServiceAccount", "name": identity.name, "namespace": identity.namespace}
    return {
        **_new_object(ROLE_BINDINGS, grant, name),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": grant.cluster_role},
        "subjects": [subject],
    }


def authorization_policy(
    grant: Grant, name: str, *, principals: tuple[str, ...], header: str
) -> Object:
    """Return the object that lets Istio forward requests whose `header` names the identity.

    Only requests from `principals` count: without them, any Pod in the mesh could set the header.
    """
    if not principals:
        raise ValueError("a header that anybody can set proves nothing")
    condition = {"key": f"request.headers[{header}]", "values": [grant.identity.user]}
    rule = {"from": [{"source": {"principals": list(principals)}}], "when": [condition]}
    return {
        **_new_object(AUTHORIZATION_POLICIES, grant, name),
        "spec": {"action": "ALLOW", "rules": [rule]},
    }


def admits_only(policy: Object, identity: IdentityName) -> bool:
    """Return whether each rule of an AuthorizationPolicy names this user and trusted principals.

    Without a principal, any Pod in the mesh could set the user header.
    """
    spec = policy.get("spec") or {}
    rules = spec.get("rules") or ()
    return (
        spec.get("action", "ALLOW") == "ALLOW"
        and bool(rules)
        and all(_names_user(rule, identity.user) and _has_principals(rule) for rule in rules)
    )


def _names_user(rule: Object, user: str) -> bool:
    return any(
        str(each.get("key", "")).startswith("request.headers[") and each.get("values") == [user]
        for each in rule.get("when") or ()
    )


def _has_principals(rule: Object) -> bool:
    sources = rule.get("from") or ()
    return bool(sources) and all(
        (principals := (each.get("source") or {}).get("principals"))
        and not any("*" in str(principal) for principal in principals)
        for each in sources
    )


def _new_object(resource: Resource, grant: Grant, name: str) -> Object:
    annotations = {labels.IDENTITY: grant.identity.key}
    if grant.role is not None:  # Kubeflow's UI knows no other roles
        annotations |= {"user": grant.identity.user, "role": grant.role}
    return new_object(
        resource.api_version,
        resource.kind,
        name,
        grant.namespace,
        labels={labels.COMPONENT: "grant"},
        annotations=annotations,
    )


def display_role(role: str, kind: str = "ClusterRole") -> str:
    """Return a role as it is shown to users: Kubeflow's by its short name, others in full."""
    short = KUBEFLOW_ROLES.get(role) if kind == "ClusterRole" else None
    return short or f"{kind.lower()}/{role}"


def allows_anything(policies: Sequence[Object]) -> bool:
    """Return whether any of these AuthorizationPolicies has the action ALLOW.

    In a namespace with one, Istio refuses what none of them allows; without one, it lets all in.
    """
    return any((each.get("spec") or {}).get("action", "ALLOW") == "ALLOW" for each in policies)


def _check_istio(cluster: Cluster, *, is_wanted: bool) -> None:
    has_istio = cluster.serves(AUTHORIZATION_POLICIES)
    if is_wanted and not has_istio:
        raise NoIstioError(
            "the cluster has no AuthorizationPolicy (security.istio.io/v1)",
            "is Istio installed? For a cluster without it: --no-istio makes the RoleBinding alone",
        )
    if has_istio and not is_wanted:
        raise NoIstioError(
            "the cluster has Istio: a RoleBinding without an AuthorizationPolicy is half a grant",
            "leave --no-istio out",
        )


def _check_risks(cluster: Cluster, cluster_role: str, warn: Warn, *, are_accepted: bool) -> None:
    fact = f"ClusterRole {cluster_role} gives access to more than it seems to"
    try:
        role = cluster.get(CLUSTER_ROLES, cluster_role)
        others = cluster.list(CLUSTER_ROLES) if role.get("aggregationRule") else []
        why = "\n".join(f"it {risk}" for risk in find_risks(rules_of(role, others)))
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
    role = document.get("roleRef", {}).get("name", grant.cluster_role)
    return is_owned_by(document, grant.identity) and role == grant.cluster_role


def _warn_of_other_roles(grant: Grant, bindings: Sequence[Object], warn: Warn) -> None:
    """Warn that earlier grants stay, in case the user wants to replace them."""
    for role in sorted(
        each["roleRef"]["name"]
        for each in bindings
        if is_owned_by(each, grant.identity)
        and each["roleRef"]["kind"] == "ClusterRole"
        and each["roleRef"]["name"] != grant.cluster_role
    ):
        identity, other = grant.identity, replace(grant, cluster_role=role)
        remove = command(
            "identity",
            "unauthorize",
            identity.name,
            "-n",
            identity.namespace,
            "--in",
            grant.namespace,
            *(("--role", other.role) if other.role else ("--cluster-role", role)),
        )
        warn(
            f"{identity} keeps {display_role(role)} in {grant.namespace}, too",
            f"to remove it: {remove}",
        )
