"""What Roles and ClusterRoles allow: which models of KServe one may call, and what gives access to
more than it seems to, such as tokens, Secrets or other accounts.

A gate with `authorize` asks the API server whether a caller may `get` the model's object. So a Role
on one name is the right to call one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, TypeAlias

from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import KSERVE_GROUP, RBAC_GROUP

EVERY_MODEL = "*"
"""In place of a model's name: every model of a namespace."""
ModelPlural: TypeAlias = Literal["inferenceservices", "llminferenceservices"]
MODEL_KINDS: Mapping[ModelPlural, str] = {
    "inferenceservices": "InferenceService",
    "llminferenceservices": "LLMInferenceService",
}
"""The kinds of models, by their plural."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedModel:
    """A model that an identity may call."""

    resource: Annotated[
        ModelPlural, "what it may get: `inferenceservices` or `llminferenceservices`"
    ]
    name: Annotated[str | None, "the name of the model; null: every model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRole:
    """A role of an identity."""

    namespace: Annotated[str | None, "where it holds; null: in every namespace"]
    role: Annotated[str, "the name of the role"]
    kind: Annotated[str, "Role or ClusterRole"]
    binding: Annotated[str, "the name of the RoleBinding or ClusterRoleBinding"]
    daypass: Annotated[bool, "whether daypass created it"]
    authorization_policy: Annotated[bool | None, "whether it has its policy; null: it needs none"]
    models: Annotated[
        Sequence[GrantedModel] | None,
        "the models that it lets the identity call; null: you may not see the role",
    ]
    exists: Annotated[bool, "whether the role exists, as far as you may see"]
    display: Annotated[str, "as in the table, such as `alice=edit` or `alice=model/iris`"]


_WORKLOADS = (
    ("", "pods"), ("", "replicationcontrollers"), ("apps", "deployments"), ("apps", "replicasets"),
    ("apps", "statefulsets"), ("apps", "daemonsets"), ("batch", "jobs"), ("batch", "cronjobs"),
)  # fmt: skip
CHANGE = ("create", "update", "patch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A rule with any of `verbs` on any of `resources` (group and plural) is a risk.

    `reason` completes the sentence "it ...".
    """

    reason: str
    verbs: tuple[str, ...]
    resources: tuple[tuple[str, str], ...]


RISKS = (
    Risk(
        reason="mints tokens of other ServiceAccounts",
        verbs=("create",), resources=(("", "serviceaccounts/token"),),
    ),
    Risk(
        reason="reads Secrets, and the long-lived tokens in them",
        # The responses to patch and deletecollection contain the whole objects.
        verbs=("get", "list", "watch", "patch", "deletecollection"), resources=(("", "secrets"),),
    ),
    Risk(
        reason="creates Secrets, and with them long-lived tokens of other ServiceAccounts",
        verbs=("create",), resources=(("", "secrets"),),
    ),
    Risk(
        reason="acts as other ServiceAccounts (impersonate)",
        verbs=("impersonate", "impersonate:serviceaccount"),
        resources=(("", "serviceaccounts"), ("authentication.k8s.io", "serviceaccounts")),
    ),
    Risk(
        reason="runs commands in Pods, as their ServiceAccounts",
        verbs=("create", "get"),
        resources=(("", "pods/exec"), ("", "pods/attach")),
    ),
    Risk(
        reason="runs Pods as any ServiceAccount of the namespace",
        verbs=CHANGE, resources=(*_WORKLOADS, ("", "pods/ephemeralcontainers")),
    ),
    Risk(
        reason="gives itself and others rights that it does not have (escalate, bind)",
        verbs=("escalate", "bind"),
        resources=((RBAC_GROUP, "roles"), (RBAC_GROUP, "clusterroles")),
    ),
    Risk(
        reason="gives its rights to others",
        verbs=CHANGE, resources=((RBAC_GROUP, "rolebindings"),),
    ),
)  # fmt: skip


def find_risks(rules: Iterable[Object]) -> tuple[str, ...]:
    """Return the reasons of all risks in the rules of a Role or ClusterRole.

    A rule with `resourceNames` is a risk, too: which objects have these names may change.
    """
    rules = list(rules)
    return tuple(
        risk.reason
        for risk in RISKS
        if any(allows(rule, risk.verbs, risk.resources) for rule in rules)
    )


RoleKey: TypeAlias = tuple[str | None, str]
"""Namespace and name of a Role; None and the name of a ClusterRole."""


def role_of(binding: Object) -> RoleKey:
    """Return the role that a RoleBinding or ClusterRoleBinding names."""
    role = binding["roleRef"]
    return binding["metadata"]["namespace"] if role["kind"] == "Role" else None, role["name"]


class Roles:
    """What Roles and ClusterRoles allow; None instead of either: they can't be listed."""

    def __init__(
        self, roles: Sequence[Object] | None, cluster_roles: Sequence[Object] | None
    ) -> None:
        found = [*(roles or ()), *(cluster_roles or ())]
        self._by_name = {(each["metadata"].get("namespace"), name_of(each)): each for each in found}
        self._are_listed = roles is not None, cluster_roles is not None
        self.rules, self.models = cache(self._rules), cache(self._models)

    def is_missing(self, role: RoleKey) -> bool:
        """Return whether the cluster does not have a role."""
        return self._are_listed[role[0] is None] and role not in self._by_name

    def _rules(self, role: RoleKey) -> list[Object] | None:
        """Return the rules of a role; None if they are not known."""
        found = self._by_name.get(role)
        return None if found is None else found.get("rules") or []

    def _models(self, role: RoleKey) -> Sequence[tuple[ModelPlural, str]] | None:
        """Return the models that a role lets one call; None if that is not known."""
        if (rules := self.rules(role)) is None:
            return () if self.is_missing(role) else None
        return tuple(dict.fromkeys(callable_models(rules)))


def allows(rule: Object, verbs: Sequence[str], resources: Sequence[tuple[str, str]]) -> bool:
    """Return whether a rule allows any of these verbs on any of these resources (group, plural)."""
    allowed, groups = rule.get("verbs") or (), rule.get("apiGroups") or ()
    named = rule.get("resources") or ()
    return ("*" in allowed or any(verb in allowed for verb in verbs)) and any(
        ("*" in groups or group in groups) and _matches(named, resource)
        for group, resource in resources
    )


def _matches(resources: Sequence[str], resource: str) -> bool:
    """Match `*`, the name or `*/subresource`, as RBAC (k8s.io/kubernetes/pkg/apis/rbac/v1)."""
    _, slash, subresource = resource.partition("/")
    forms = ("*", resource, f"*/{subresource}") if slash else ("*", resource)
    return any(form in resources for form in forms)


def selects(selector: Object, role: Object) -> bool:
    """Return whether a label selector matches (k8s.io/apimachinery/pkg/labels)."""
    labels = role["metadata"].get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        value, values = labels.get(expression["key"]), expression.get("values") or ()
        fits = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(expression["operator"], True):
            return False
    return True


def callable_models(rules: Iterable[Object]) -> Iterator[tuple[ModelPlural, str]]:
    """Yield the kinds and names of the models that rules let one call; EVERY_MODEL for all."""
    for rule in rules:
        for plural in MODEL_KINDS:
            if allows(rule, ["get"], [(KSERVE_GROUP, plural)]):
                for name in rule.get("resourceNames") or (EVERY_MODEL,):
                    yield plural, str(name)
