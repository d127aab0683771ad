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

The labels of models' Pods are those that KServe's controllers put on them, alike with Knative and
without (github.com/kserve/kserve v0.20, pkg/controller/v1beta1/inferenceservice/components:
`predictor.go`, `transformer.go`, `explainer.go`; pkg/controller/v1alpha2/llmisvc/workload.go:
`GetWorkloadLabelSelector`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from daypass._core.errors import DaypassError, UsageError
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of, new_object
from daypass._core.kubernetes.syntax import KSERVE_GROUP, RBAC_GROUP, is_label, is_subdomain
from daypass._core.text import printable
from daypass.identity.accounts import IdentityName, owner_of
from daypass.identity.roles import EVERY_MODEL, MODEL_KINDS, ModelPlural, callable_models
from daypass.kube.cluster import Cluster
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    NAMESPACES,
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
_LONGEST_NAME_CHARACTERS = 253
_DIGEST_CHARACTERS = 12
_SUFFIX_CHARACTERS = 24
"""Room for what follows a grant's name in the name of a policy."""
MODEL_LABEL = f"{KSERVE_GROUP}/inferenceservice"
"""On the Pods of an InferenceService: its name."""
LLM_WORKLOAD = {labels.PART_OF: "llminferenceservice", "kserve.io/component": "workload"}
"""The Pods of an LLMInferenceService that answer requests, and not its scheduler or tokenizer."""
_COMPONENTS = ("predictor", "transformer", "explainer")

Selector: TypeAlias = Mapping[str, str]
"""Labels of Pods, as in `matchLabels`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedHeader:
    """The header that names the user, and the workloads that may set it: Istio's principals.

    Without a principal, any Pod in the mesh could set it. Raises UsageError for a principal or a
    header that matches everything or nothing.
    """

    header: str = "kubeflow-userid"
    principals: tuple[str, ...] = (
        f"{TRUST_DOMAIN}/ns/istio-system/sa/istio-ingressgateway-service-account",
    )

    def __post_init__(self) -> None:
        if not all(each.strip() and "*" not in each for each in self.principals or [""]):
            raise UsageError(
                "a principal with * or without a name matches any workload",
                "name one workload, such as cluster.local/ns/NS/sa/NAME",
            )
        if not self.header.isascii() or not self.header.replace("-", "").isalnum():
            raise UsageError(
                f"{self.header[:40]!r} is not a header name", "such as kubeflow-userid"
            )


KUBEFLOW = TrustedHeader()
"""Kubeflow's own header, set by its ingress gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An identity, a namespace, and what it may do there. Use `role_grant` and `model_grant`.

    `names`: the possible names of its RoleBinding, the preferred one first. `cluster_role`: what it
    binds; None: a Role of its own, of the same name, with `rules` to call `model`. `display`: what
    it gives, as shown to users. `options`: those of `daypass identity authorize` for it.
    `annotations`: those of its objects, in addition to the identity's. `selectors`: the Pods that
    it admits requests to, by the suffix of the policy's name.
    """

    identity: IdentityName
    namespace: str
    names: tuple[str, ...]
    cluster_role: str | None = None
    model: str | None = None
    rules: Sequence[Object] = ()
    display: str
    options: tuple[str, ...]
    annotations: Mapping[str, str]
    selectors: Mapping[str, Selector]

    def binding(self, name: str) -> Object:
        """Return the object that lets the APIs accept the identity's requests."""
        identity = self.identity
        subject = {"kind": "ServiceAccount", "name": identity.name, "namespace": identity.namespace}
        role = self.cluster_role or name
        kind = "ClusterRole" if self.cluster_role else "Role"
        return {
            **self._new_object(ROLE_BINDINGS, name),
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": role},
            "subjects": [subject],
        }

    def _policies(self, name: str, trusted: TrustedHeader) -> Iterator[Object]:
        """Yield the objects that let Istio forward requests whose header names the identity."""
        key = f"request.headers[{trusted.header}]"
        for policy, selector in zip(self.policy_names(name), self.selectors.values(), strict=True):
            rule = {
                "from": [{"source": {"principals": list(trusted.principals)}}],
                "when": [{"key": key, "values": [self.identity.user]}],
            }
            spec: Object = {"action": "ALLOW", "rules": [rule]}
            if selector:
                spec["selector"] = {"matchLabels": dict(selector)}
            yield self._new_object(AUTHORIZATION_POLICIES, policy, spec=spec)

    def policy_names(self, name: str) -> list[str]:
        """Return the names of its policies."""
        return [f"{name}.{suffix}" if suffix else name for suffix in self.selectors]

    def objects(self, name: str, trusted: TrustedHeader | None) -> list[Object]:
        """Return all of its objects, in the order to create them. `trusted`: None without Istio."""
        roles = [self._new_object(ROLES, name, rules=[*self.rules])] if self.rules else []
        policies = () if trusted is None else self._policies(name, trusted)
        return [*roles, self.binding(name), *policies]

    def owns(self, document: Object) -> bool:
        """Return whether an object of this identity has the namespace and a name of this grant."""
        return (
            document["metadata"]["namespace"] == self.namespace
            and grant_name(document) in self.names
        )

    def _new_object(self, resource: Resource, name: str, **fields: object) -> Object:
        return new_object(
            resource.api_version,
            resource.kind,
            name,
            self.namespace,
            labels={labels.COMPONENT: _COMPONENT},
            annotations={labels.IDENTITY: self.identity.key, **self.annotations},
            **fields,
        )


def role_grant(identity: IdentityName, namespace: str, cluster_role: str) -> Grant:
    """Return the grant of a ClusterRole in a namespace.

    For Kubeflow's roles it has the name that Kubeflow gives both objects, which two identities may
    share, and the annotations that Kubeflow's UI reads, which knows no other roles.
    """
    role = KUBEFLOW_ROLES.get(cluster_role)
    kind = f"clusterrole-{role or cluster_role}"
    shared, unique = _kubeflow_name(identity, kind), _unique_name(identity, kind, cluster_role)
    is_shared = role is not None and len(shared) <= _LONGEST_NAME_CHARACTERS
    option = ("--cluster-role", cluster_role) if role is None else ("--role", role)
    return Grant(
        identity=identity,
        namespace=namespace,
        names=(shared, unique) if is_shared else (unique,),
        cluster_role=cluster_role,
        display=display_role(cluster_role),
        options=("--in", namespace, *option),
        annotations={} if role is None else {"user": identity.user, "role": role},
        selectors={"": {}},
    )


def model_grant(
    identity: IdentityName,
    namespace: str,
    model: str,
    plurals: Sequence[ModelPlural] = tuple(MODEL_KINDS),
) -> Grant:
    """Return the right to call a model or (EVERY_MODEL) all of a namespace: those of `plurals`."""
    kind, options = f"model-{model}", ["--model", f"{namespace}/{model}"]
    rule: Object = {"apiGroups": [KSERVE_GROUP], "resources": [*plurals], "verbs": ["get"]}
    if model == EVERY_MODEL:
        kind, options = "models", ["--in", namespace, "--inference-only"]
    else:
        rule["resourceNames"] = [model]
    return Grant(
        identity=identity,
        namespace=namespace,
        names=(_unique_name(identity, kind, f"model/{model}"),),
        model=model,
        rules=[rule],
        display=f"model/{model}",
        options=tuple(options),
        annotations={labels.MODEL: model},
        selectors={k: v for plural in plurals for k, v in pods_of(plural, model).items()},
    )


def _kubeflow_name(identity: IdentityName, kind: str) -> str:
    return re.sub("[^a-z0-9]+", "-", f"user-{identity.user}-{kind}".lower())


def _unique_name(identity: IdentityName, kind: str, key: str) -> str:
    """Return a name that no other grant in the namespace has."""
    digest = hashlib.sha256(f"{identity.key}\n{key}".encode()).hexdigest()
    longest = _LONGEST_NAME_CHARACTERS - _SUFFIX_CHARACTERS - _DIGEST_CHARACTERS - 1
    return f"{_kubeflow_name(identity, kind)[:longest]}-{digest[:_DIGEST_CHARACTERS]}"


def read_grant(binding: Object, rules: Iterable[Object] | None = None) -> Grant | None:
    """Return the grant that a RoleBinding is part of; None if daypass did not create it.

    `rules`: those of its role, which tell the kinds of models.
    """
    identity = IdentityName.parse_key(owner_of(binding) or "")
    namespace, role = binding["metadata"].get("namespace"), binding["roleRef"]
    if identity is None or not namespace:
        return None
    if role["kind"] == "ClusterRole":
        grant = role_grant(identity, namespace, role["name"])
    elif model := binding["metadata"]["annotations"].get(labels.MODEL):
        named = {plural for plural, _ in callable_models(rules or ())} or MODEL_KINDS
        plurals = [plural for plural in MODEL_KINDS if plural in named]
        grant = model_grant(identity, namespace, model, plurals)
    else:
        return None  # the identity's right to request its own tokens
    name = name_of(binding)
    is_same = name in grant.names and role == grant.binding(name)["roleRef"]
    return grant if is_same else None


def grant_name(document: Object) -> str:
    """Return the name of the RoleBinding of the grant that has this object."""
    return name_of(document).partition(".")[0]


def display_role(role: str, kind: str = "ClusterRole") -> str:
    """Return a role as it is shown to users: Kubeflow's by its short name, others in full."""
    short = KUBEFLOW_ROLES.get(role) if kind == "ClusterRole" else None
    return short or f"{kind.lower()}/{role}"


def selector_of(policy: Object) -> Selector:
    """Return the labels of the Pods that an AuthorizationPolicy applies to; empty: all Pods."""
    selector = (policy.get("spec") or {}).get("selector") or {}
    return dict(selector.get("matchLabels") or {})


class ModelNotFoundError(DaypassError):
    """There is no model of that name."""


def parse_model(text: str) -> tuple[str, str]:
    """Return namespace and name of a model from NAMESPACE/NAME. Raises UsageError."""
    namespace, _, name = text.partition("/")
    if not (is_label(namespace) and is_subdomain(name)):
        raise UsageError(
            f"{printable(text, 80)!r} does not name a model",
            "write NAMESPACE/NAME, such as alice/iris",
        )
    return namespace, name


def pods_of(plural: ModelPlural, model: str) -> Mapping[str, Selector]:
    """Return selectors of the Pods of a model or (EVERY_MODEL) of all, by a suffix for the name of
    an object that has the selector.
    """
    is_every = model == EVERY_MODEL
    if plural == "llminferenceservices":
        name = {} if is_every else {labels.APP_NAME: model}
        return {"llminferenceservice": {**LLM_WORKLOAD, **name}}
    if is_every:  # Istio's selectors can't ask whether a label exists
        return {each: {"component": each} for each in _COMPONENTS}
    return {"inferenceservice": {MODEL_LABEL: model}}


def find_model(
    cluster: Cluster, namespace: str, name: str, *, ignore_not_found: bool
) -> Mapping[ModelPlural, Object]:
    """Return what has this name. Raises NotFoundError (the namespace), ModelNotFoundError.

    `ignore_not_found`: it may be that nothing has it.
    """
    served = {plural: cluster.find_kind(KSERVE_GROUP, kind) for plural, kind in MODEL_KINDS.items()}
    found = {
        plural: document
        for plural, resource in served.items()
        if resource and (document := cluster.find(resource, name, namespace))
    }
    if not found and not ignore_not_found:
        cluster.get(NAMESPACES, namespace)
        hint = "to grant it before it is created: --ignore-not-found"
        if not any(served.values()):
            hint = f"is KServe installed?\n{hint}"
        raise ModelNotFoundError(f"there is no model {namespace}/{name}", hint)
    return found
