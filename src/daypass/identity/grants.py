"""What an identity may do in a namespace, as the two objects that say it.

A RoleBinding lets the APIs (Kubernetes', and Kubeflow's, which ask Kubernetes) take the identity's
requests; an AuthorizationPolicy lets the mesh bring them to the workloads of the namespace. They
are made, named, annotated and shaped as Kubeflow's own access management does it, so that its UI
lists them and can take them away (github.com/kubeflow/dashboard,
components/access-management/kfam/bindings.go: `getBindingName`, `getAuthorizationPolicy`, `List`).
Two things differ. The subject is the ServiceAccount, not a user of that name. And the header is
believed from the ingress gateway alone: who else may name a principal is for the admin to say.

Giving an identity a role in namespaces, and taking it away again.

Everything is looked at before anything is made, and the API server tries all of it first
(`dryRun=All`): what is refused in one namespace is made in none. What breaks off half-way is half
a grant, which `daypass identity list` shows and the same command finishes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass.identity.model import LABELS, IdentityName, get_identity
from daypass.identity.role_risks import reasons, rules_of
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import is_embedded
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    Object,
    Resource,
    name_of,
    uid_of,
)

Warn = Callable[[str, str], None]
RBAC_GROUP = "rbac.authorization.k8s.io"
INGRESS_GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
"""Who may say which user a request is of: the principal of Kubeflow's ingress gateway."""

USER_HEADER = "kubeflow-userid"
KUBEFLOW_ROLES = {"kubeflow-view": "view", "kubeflow-edit": "edit", "kubeflow-admin": "admin"}
LONGEST_NAME_CHARACTERS = 253


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Grant:
    """An identity, a namespace that it may work in, and the ClusterRole that it has there."""

    identity: IdentityName
    namespace: str
    cluster_role: str

    @property
    def role(self) -> str | None:
        """What Kubeflow calls the role: view, edit, admin, or None for another ClusterRole."""
        return KUBEFLOW_ROLES.get(self.cluster_role)

    @property
    def usual_name(self) -> str:
        """What Kubeflow would call both objects. Another identity's may be called the same."""
        kind = f"clusterrole-{self.role or self.cluster_role}"
        return re.sub("[^a-z0-9]+", "-", f"user-{user_of(self.identity)}-{kind}".lower())

    @property
    def own_name(self) -> str:
        """A name that only this very grant has."""
        key = f"{self.identity.key}\n{self.cluster_role}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return f"{self.usual_name[: LONGEST_NAME_CHARACTERS - 13]}-{digest}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it may have, the best one first."""
        if self.role is None or len(self.usual_name) > LONGEST_NAME_CHARACTERS:
            return (self.own_name,)
        return (self.usual_name, self.own_name)


def shown_role(role: str, kind: str = "ClusterRole") -> str:
    """A role as people read it: Kubeflow's by its short name, others in full."""
    short = KUBEFLOW_ROLES.get(role) if kind == "ClusterRole" else None
    return short or f"{kind.lower()}/{role}"


def user_of(identity: IdentityName) -> str:
    """What Kubernetes calls an identity, and the gate passes on."""
    return f"system:serviceaccount:{identity.namespace}:{identity.name}"


def role_binding(grant: Grant, name: str) -> Object:
    """The grant to the APIs."""
    identity = grant.identity
    subject = {"kind": "ServiceAccount", "name": identity.name, "namespace": identity.namespace}
    return {
        **_object(ROLE_BINDINGS.api_version, ROLE_BINDINGS.kind, grant, name),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": grant.cluster_role},
        "subjects": [subject],
    }


def authorization_policy(
    grant: Grant, name: str, *, principals: tuple[str, ...], header: str
) -> Object:
    """The grant to the mesh: the user that `header` names, as long as one of `principals` says so.

    Without principals any Pod in the mesh could say that it is anybody.
    """
    if not principals:
        raise ValueError("a header that anybody can set proves nobody")
    condition = {"key": f"request.headers[{header}]", "values": [user_of(grant.identity)]}
    rule = {"from": [{"source": {"principals": list(principals)}}], "when": [condition]}
    return {
        **_object(AUTHORIZATION_POLICIES.api_version, AUTHORIZATION_POLICIES.kind, grant, name),
        "spec": {"action": "ALLOW", "rules": [rule]},
    }


def is_of(document: Object, identity: IdentityName) -> bool:
    """Whether an object is marked as this identity's."""
    metadata = document["metadata"]
    return (metadata.get("labels") or {}).get(labels.MANAGED_BY) == labels.MANAGER and (
        metadata.get("annotations") or {}
    ).get(labels.IDENTITY) == identity.key


def _object(api_version: str, kind: str, grant: Grant, name: str) -> Object:
    annotations = {labels.IDENTITY: grant.identity.key}
    if grant.role is not None:  # Kubeflow's UI knows no other
        annotations |= {"user": user_of(grant.identity), "role": grant.role}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": grant.namespace,
            "labels": {**LABELS, "app.kubernetes.io/component": "grant"},
            "annotations": annotations,
        },
    }


class RiskyRoleError(DaypassError):
    """A role that leads further than it looks, and nobody has said yes to it."""


class NoIstioError(DaypassError):
    """The cluster knows no AuthorizationPolicy, or knows it where none is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """A role for an identity in some namespaces. `accept_risks`: whatever it leads to.

    `istio=False`: no AuthorizationPolicy, for a cluster that has no Istio.
    """

    identity: IdentityName
    namespaces: tuple[str, ...]
    cluster_role: str
    principals: tuple[str, ...] = (INGRESS_GATEWAY,)
    header: str = USER_HEADER
    istio: bool = True
    accept_risks: bool = False


def plan(cluster: Cluster, wish: GrantRequest, *, warn: Warn) -> list[Object]:
    """The objects that make up the grants, pair by pair; nothing is changed.

    Raises NoIdentityError, NotFoundError (a namespace, the ClusterRole), NoIstioError,
    RiskyRoleError.
    """
    get_identity(cluster, wish.identity)
    for namespace in wish.namespaces:
        cluster.get(NAMESPACES, namespace)
    _check_istio(cluster, wish)
    _check_risks(cluster, wish, warn)
    documents: list[Object] = []
    for namespace in wish.namespaces:
        grant = Grant(identity=wish.identity, namespace=namespace, cluster_role=wish.cluster_role)
        bindings = cluster.list(ROLE_BINDINGS, namespace)
        policies = cluster.list(AUTHORIZATION_POLICIES, namespace) if wish.istio else []
        name = _free_name(grant, [*bindings, *policies])
        documents.append(role_binding(grant, name))
        _warn_of_others(grant, bindings, warn)
        if wish.istio:
            documents.append(
                authorization_policy(grant, name, principals=wish.principals, header=wish.header)
            )
            _warn_of_the_first(namespace, policies, warn)
    return documents


def apply(cluster: Cluster, documents: Sequence[Object], *, dry_run: bool = False) -> list[Object]:
    """Make what was planned, once the API server has found nothing wrong with any of it.

    Fields that somebody else has set otherwise are taken over: these are daypass' own objects.
    """
    tried = [cluster.apply(document, dry_run=True, force=True) for document in documents]
    return tried if dry_run else [cluster.apply(each, force=True) for each in documents]


def unauthorize(
    cluster: Cluster,
    identity: IdentityName,
    namespaces: Sequence[str] | None,
    *,
    cluster_role: str | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Take an identity's grants away, in these namespaces or (None) in all; what was removed.

    `cluster_role`: only those to it. Goes on where a run before broke off.
    """
    found = list(_grants(cluster, identity, namespaces))
    if cluster_role is not None:
        found = [
            (resource, each)
            for resource, each in found
            if name_of(each)
            in Grant(identity=identity, namespace=_place(each)[0], cluster_role=cluster_role).names
        ]
    removed = []
    for resource, each in found:
        namespace, name = _place(each)
        if cluster.delete(resource, name, namespace, uid=uid_of(each), dry_run=dry_run):
            removed.append(resource.named(namespace, name))
    return removed


def _grants(
    cluster: Cluster, identity: IdentityName, namespaces: Sequence[str] | None
) -> Iterator[tuple[Resource, Object]]:
    """RoleBindings first: what the APIs take no more is of little use in the mesh."""
    for resource in (ROLE_BINDINGS, AUTHORIZATION_POLICIES):
        for namespace in namespaces if namespaces is not None else (None,):
            try:
                found = cluster.list(resource, namespace, labels=labels.SELECTOR)
            except NotFoundError:
                continue  # no Istio here
            for each in found:
                # By a Role it is the identity's own right to ask for its tokens.
                if is_of(each, identity) and each.get("roleRef", {}).get("kind") != "Role":
                    yield resource, each


def _place(document: Object) -> tuple[str, str]:
    return document["metadata"]["namespace"], name_of(document)


def _check_istio(cluster: Cluster, wish: GrantRequest) -> None:
    served = cluster.serves(AUTHORIZATION_POLICIES)
    if wish.istio and not served:
        raise NoIstioError(
            "the cluster knows no AuthorizationPolicy (security.istio.io/v1)",
            "is Istio installed? Where there is none to be: --no-istio, for the RoleBinding alone",
        )
    if served and not wish.istio:
        raise NoIstioError(
            "the cluster has Istio: without an AuthorizationPolicy it would be half a grant",
            "leave --no-istio out",
        )


def _check_risks(cluster: Cluster, wish: GrantRequest, warn: Warn) -> None:
    fact = f"ClusterRole {wish.cluster_role} leads further than it looks"
    try:
        role = cluster.get(CLUSTER_ROLES, wish.cluster_role)
        others = cluster.list(CLUSTER_ROLES) if role.get("aggregationRule") else []
        why = "\n".join(f"it {reason}" for reason in reasons(rules_of(role, others)))
    except NotFoundError as error:
        hint = "" if is_embedded(cluster) else kubectl("get", "clusterroles")
        if wish.cluster_role in KUBEFLOW_ROLES:
            hint = "is Kubeflow installed? Another one is named by --cluster-role"
        raise NotFoundError(error.status, error.fact, hint) from None
    except ForbiddenError:
        fact = f"what ClusterRole {wish.cluster_role} leads to cannot be seen"
        why = "its rules are not yours to read"
    if why and not wish.accept_risks:
        raise RiskyRoleError(fact, f"{why}\nif that is meant: --yes")
    if why:
        warn(fact, why)


def _free_name(grant: Grant, there: Sequence[Object]) -> str:
    """The first of the grant's names under which nothing of somebody else is."""
    *usual, own = grant.names
    for name in usual:
        if all(_is_this(each, grant) for each in there if name_of(each) == name):
            return name
    return own


def _is_this(document: Object, grant: Grant) -> bool:
    role = document.get("roleRef", {}).get("name", grant.cluster_role)
    return is_of(document, grant.identity) and role == grant.cluster_role


def _warn_of_others(grant: Grant, bindings: Sequence[Object], warn: Warn) -> None:
    """A grant adds to what is there: somebody who means less than before has to be told."""
    for role in sorted(
        each["roleRef"]["name"]
        for each in bindings
        if is_of(each, grant.identity)
        and each["roleRef"]["kind"] == "ClusterRole"
        and each["roleRef"]["name"] != grant.cluster_role
    ):
        identity, other = grant.identity, replace(grant, cluster_role=role)
        less = command(
            "identity", "unauthorize", identity.name, "-n", identity.namespace,
            "--in", grant.namespace,
            *(("--role", other.role) if other.role else ("--cluster-role", role)),
        )  # fmt: skip
        warn(f"{identity} has {shown_role(role)} in {grant.namespace}, too, and keeps it", less)


def _warn_of_the_first(namespace: str, policies: Sequence[Object], warn: Warn) -> None:
    """With its first ALLOW a namespace begins to refuse everything else: Istio's rule."""
    if not any((each.get("spec") or {}).get("action", "ALLOW") == "ALLOW" for each in policies):
        warn(
            f"{namespace} has no AuthorizationPolicy yet that allows anything",
            "with this one, its workloads in the mesh refuse all that none of them allows;"
            "\na profile of Kubeflow has one from the start",
        )
