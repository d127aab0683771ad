"""Grants: the right of an identity to a ClusterRole in a namespace, or to call models there.

A grant is two kinds of objects in a namespace. A RoleBinding lets Kubernetes, and the APIs and
gates that ask Kubernetes, accept the identity's requests. AuthorizationPolicies let Istio forward
them to the namespace's workloads. The right to call models has a Role of its own, and its policies
select the Pods of these models alone.

Names, annotations and form of a ClusterRole's grant follow Kubeflow's access management, so that
its UI lists and removes them (github.com/kubeflow/dashboard, components/access-management/kfam/
bindings.go: `getBindingName`, `getAuthorizationPolicy`, `List`). Two things differ: the subject is
the ServiceAccount instead of a user, and only named principals (by default the ingress gateway) may
set the user header.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from daypass._core import labels
from daypass._core.k8s_names import RBAC_GROUP
from daypass._core.objects import Object, name_of, new_object
from daypass.identity.inference import (
    EVERY_MODEL,
    MODEL_KINDS,
    ModelKind,
    Selector,
    call_rule,
    callable_models,
)
from daypass.identity.model import IdentityName, owner_of
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)

TRUST_DOMAIN = "cluster.local"
"""Istio's own, unless its administrator names another."""
KUBEFLOW_ROLES = {"kubeflow-view": "view", "kubeflow-edit": "edit", "kubeflow-admin": "admin"}
GRANTED = (ROLE_BINDINGS, AUTHORIZATION_POLICIES, ROLES)
"""The kinds of a grant's objects, in the order to delete them: the first decides what APIs accept.
"""
_COMPONENT = "grant"
_WHOLE_NAMESPACE: Mapping[str, Selector] = {"": {}}
_LONGEST_NAME_CHARACTERS = 253
_DIGEST_CHARACTERS = 12
_SUFFIX_CHARACTERS = 24
"""Room for what follows a grant's name in the name of a policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedHeader:
    """The header that names the user, and the workloads that may set it: Istio's principals.

    Without a principal, any Pod in the mesh could set it.
    """

    header: str = "kubeflow-userid"
    principals: tuple[str, ...] = (
        f"{TRUST_DOMAIN}/ns/istio-system/sa/istio-ingressgateway-service-account",
    )

    def __post_init__(self) -> None:
        if not self.principals:
            raise ValueError("a header that anybody can set proves nothing")


KUBEFLOW = TrustedHeader()
"""Kubeflow's own header, set by its ingress gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(ABC):
    """An identity, a namespace, and what it may do there."""

    identity: IdentityName
    namespace: str

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The possible names of its RoleBinding, the preferred one first."""

    @property
    @abstractmethod
    def display(self) -> str:
        """What it gives, as shown to users."""

    @property
    @abstractmethod
    def options(self) -> tuple[str, ...]:
        """The options of `daypass identity authorize` and `unauthorize` for it."""

    @property
    def annotations(self) -> dict[str, str]:
        """Those of each of its objects."""
        return {labels.IDENTITY: self.identity.key}

    @property
    def selectors(self) -> Mapping[str, Selector]:
        """The Pods that it admits requests to, by the suffix of the policy's name."""
        return _WHOLE_NAMESPACE

    @abstractmethod
    def role_reference(self, name: str) -> tuple[str, str]:
        """Return kind and name of the role to bind."""

    def own_role(self, name: str) -> list[Object]:
        """Return the Role that it binds, if it has one of its own."""
        return []

    def binding(self, name: str) -> Object:
        """Return the object that lets the APIs accept the identity's requests."""
        identity = self.identity
        subject = {"kind": "ServiceAccount", "name": identity.name, "namespace": identity.namespace}
        kind, role = self.role_reference(name)
        return {
            **self._new_object(ROLE_BINDINGS, name),
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": role},
            "subjects": [subject],
        }

    def policies(self, name: str, trusted: TrustedHeader) -> list[Object]:
        """Return the objects that let Istio forward requests whose header names the identity."""
        key = f"request.headers[{trusted.header}]"
        documents = []
        for policy_name, selector in zip(
            self.policy_names(name), self.selectors.values(), strict=True
        ):
            rule = {
                "from": [{"source": {"principals": list(trusted.principals)}}],
                "when": [{"key": key, "values": [self.identity.user]}],
            }
            spec: Object = {"action": "ALLOW", "rules": [rule]}
            if selector:
                spec["selector"] = {"matchLabels": dict(selector)}
            documents.append(self._new_object(AUTHORIZATION_POLICIES, policy_name, spec=spec))
        return documents

    def policy_names(self, name: str) -> list[str]:
        """Return the names of its policies."""
        return [f"{name}.{suffix}" if suffix else name for suffix in self.selectors]

    def objects(self, name: str, trusted: TrustedHeader | None) -> list[Object]:
        """Return all of its objects, in the order to create them. `trusted`: None without Istio."""
        policies = [] if trusted is None else self.policies(name, trusted)
        return [*self.own_role(name), self.binding(name), *policies]

    def owns(self, document: Object) -> bool:
        """Return whether an object of this identity has the namespace and a name of this grant."""
        return (
            document["metadata"]["namespace"] == self.namespace
            and grant_name(document) in self.names
        )

    def _unique_name(self, key: str, kind: str) -> str:
        """Return a name that no other grant in the namespace has."""
        digest = hashlib.sha256(f"{self.identity.key}\n{key}".encode()).hexdigest()
        longest = _LONGEST_NAME_CHARACTERS - _SUFFIX_CHARACTERS - _DIGEST_CHARACTERS - 1
        return f"{self._kubeflow_name(kind)[:longest]}-{digest[:_DIGEST_CHARACTERS]}"

    def _kubeflow_name(self, kind: str) -> str:
        return re.sub("[^a-z0-9]+", "-", f"user-{self.identity.user}-{kind}".lower())

    def _new_object(self, resource: Resource, name: str, **fields: object) -> Object:
        return new_object(
            resource.api_version,
            resource.kind,
            name,
            self.namespace,
            labels={labels.COMPONENT: _COMPONENT},
            annotations=self.annotations,
            **fields,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGrant(Grant):
    """The rights of a ClusterRole in a namespace."""

    cluster_role: str

    @property
    def kubeflow_role(self) -> str | None:
        """Kubeflow's name of the role: view, edit, admin, or None for another ClusterRole."""
        return KUBEFLOW_ROLES.get(self.cluster_role)

    @property
    def names(self) -> tuple[str, ...]:
        """The name that Kubeflow gives both objects, which two identities may share; another."""
        kind = f"clusterrole-{self.kubeflow_role or self.cluster_role}"
        unique, shared = self._unique_name(self.cluster_role, kind), self._kubeflow_name(kind)
        if self.kubeflow_role is None or len(shared) > _LONGEST_NAME_CHARACTERS:
            return (unique,)
        return (shared, unique)

    @property
    def display(self) -> str:
        """The role: Kubeflow's by its short name."""
        return display_role(self.cluster_role)

    @property
    def options(self) -> tuple[str, ...]:
        """The namespace, and the role."""
        role = self.kubeflow_role
        named = ("--role", role) if role else ("--cluster-role", self.cluster_role)
        return ("--in", self.namespace, *named)

    @property
    def annotations(self) -> dict[str, str]:
        """Those that Kubeflow's UI reads, too; it knows no other roles."""
        own = {labels.IDENTITY: self.identity.key}
        role = self.kubeflow_role
        return own if role is None else {**own, "user": self.identity.user, "role": role}

    def role_reference(self, name: str) -> tuple[str, str]:
        """Return the ClusterRole."""
        return "ClusterRole", self.cluster_role


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGrant(Grant):
    """The right to call a model or (EVERY_MODEL) all of a namespace: those of `kinds`."""

    model: str
    kinds: tuple[ModelKind, ...] = MODEL_KINDS

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the Role, too."""
        kind = "models" if self.model == EVERY_MODEL else f"model-{self.model}"
        return (self._unique_name(f"model/{self.model}", kind),)

    @property
    def display(self) -> str:
        """The model's name."""
        return f"model/{self.model}"

    @property
    def options(self) -> tuple[str, ...]:
        """The model, or the namespace."""
        if self.model == EVERY_MODEL:
            return ("--in", self.namespace, "--inference-only")
        return ("--model", f"{self.namespace}/{self.model}")

    @property
    def annotations(self) -> dict[str, str]:
        """The model, too."""
        return {labels.IDENTITY: self.identity.key, labels.MODEL: self.model}

    @property
    def selectors(self) -> Mapping[str, Selector]:
        """The Pods of these models alone."""
        pods: dict[str, Selector] = {}
        for kind in self.kinds:
            pods |= kind.pods_of(self.model)
        return pods

    @property
    def rules(self) -> list[Object]:
        """Those of its Role."""
        return [call_rule(self.model, self.kinds)]

    def role_reference(self, name: str) -> tuple[str, str]:
        """Return its own Role."""
        return "Role", name

    def own_role(self, name: str) -> list[Object]:
        """Return a Role with exactly this right."""
        return [self._new_object(ROLES, name, rules=self.rules)]


def read_grant(binding: Object, rules: Iterable[Object] | None = None) -> Grant | None:
    """Return the grant that a RoleBinding is part of; None if daypass did not create it.

    `rules`: those of its role, which tell the kinds of models.
    """
    identity = IdentityName.parse_key(owner_of(binding) or "")
    namespace, role = binding["metadata"].get("namespace"), binding["roleRef"]
    if identity is None or not namespace:
        return None
    grant: Grant
    if role["kind"] == "ClusterRole":
        grant = RoleGrant(identity=identity, namespace=namespace, cluster_role=role["name"])
    elif model := binding["metadata"]["annotations"].get(labels.MODEL):
        named = {kind for kind, _ in callable_models(rules or ())}
        kinds = tuple(kind for kind in MODEL_KINDS if kind in named) or MODEL_KINDS
        grant = ModelGrant(identity=identity, namespace=namespace, model=model, kinds=kinds)
    else:
        return None  # the identity's right to request its own tokens
    name = name_of(binding)
    is_same = name in grant.names and grant.role_reference(name) == (role["kind"], role["name"])
    return grant if is_same else None


def grant_name(document: Object) -> str:
    """Return the name of the RoleBinding of the grant that has this object."""
    return name_of(document).partition(".")[0]


def admits_only(policy: Object, identity: IdentityName) -> bool:
    """Return whether an AuthorizationPolicy of a grant is as narrow as it was created.

    Each rule names this user and trusted principals: without a principal, any Pod in the mesh could
    set the user header. A policy for models selects their Pods.
    """
    spec = policy.get("spec") or {}
    rules = spec.get("rules") or ()
    return (
        spec.get("action", "ALLOW") == "ALLOW"
        and bool(rules)
        and all(_names_user(rule, identity.user) and _has_principals(rule) for rule in rules)
        and _selects_its_models(policy)
    )


def _selects_its_models(policy: Object) -> bool:
    """Return whether a policy for models selects the Pods that its annotation and name say."""
    model = (policy["metadata"].get("annotations") or {}).get(labels.MODEL)
    suffix = name_of(policy).partition(".")[2]
    expected = (kind.pods_of(model).get(suffix) for kind in MODEL_KINDS) if model else ({},)
    actual = selector_of(policy).items()
    return any(each is not None and each.items() <= actual for each in expected)


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


def display_role(role: str, kind: str = "ClusterRole") -> str:
    """Return a role as it is shown to users: Kubeflow's by its short name, others in full."""
    short = KUBEFLOW_ROLES.get(role) if kind == "ClusterRole" else None
    return short or f"{kind.lower()}/{role}"


def selector_of(policy: Object) -> Selector:
    """Return the labels of the Pods that an AuthorizationPolicy applies to; empty: all Pods."""
    selector = (policy.get("spec") or {}).get("selector") or {}
    return dict(selector.get("matchLabels") or {})
