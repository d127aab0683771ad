"""Kinds of objects: their paths in the API, and which of them an API server serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, group_of
from daypass._core.kubernetes.syntax import RBAC_GROUP

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Kubernetes 1.30 and later (KEP-3352)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: `api_version` is GROUP/VERSION or just v1, `plural` as in URLs."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = field(default=True, kw_only=True)

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL path of the collection, an object, or an object's subresource."""
        parts = ["apis" if "/" in self.api_version else "api", *self.api_version.split("/")]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/" + "/".join(quote(part, safe=":") for part in parts)

    def named(self, namespace: str | None, name: str | None = None) -> str:
        """Return the name of an object, or of all, in messages: `secrets/x in team`."""
        what = self.plural if name is None else f"{self.plural}/{name}"
        return f"{what} in {namespace}" if namespace and self.namespaced else what


_RBAC = f"{RBAC_GROUP}/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"

TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secrets
TOKEN_SECRETS = f"type={TOKEN_TYPE}"
"""Field selector of the Secrets that hold a long-lived token."""
OTHER_SECRETS = f"type!={TOKEN_TYPE}"
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
ACCOUNT_UID_ANNOTATION = "kubernetes.io/service-account.uid"
"""On a Secret: the UID of its ServiceAccount. On a token Secret, the token controller writes it; it
leaves other types alone (k8s.io/kubernetes/pkg/controller/serviceaccount/tokens_controller.go)."""
IDENTITY_SECRET_NAME = re.compile(
    f"(.+)(?:{labels.SECRET_INFIX}|({labels.ANCHOR_INFIX})){labels.SECRET_SUFFIX}", re.ASCII
)
"""The name of an identity's token Secret or anchor. The first group is its ServiceAccount's, the
second one is of an anchor only. No name is one of both, or of two ServiceAccounts: the last 28
characters of the one differ from the other's.
"""

NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
PODS = Resource("v1", "Pod", "pods")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
SECRETS = Resource("v1", "Secret", "secrets")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
ROLES = Resource(_RBAC, "Role", "roles")
ROLE_BINDINGS = Resource(_RBAC, "RoleBinding", "rolebindings")
CLUSTER_ROLES = Resource(_RBAC, "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    _RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
AUTHORIZATION_POLICIES = Resource(
    "security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies"
)
ENVOY_FILTERS = Resource("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
VALIDATING_ADMISSION_POLICIES = Resource(
    _ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False
)
VALIDATING_ADMISSION_POLICY_BINDINGS = Resource(
    _ADMISSION,
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)
KNOWN = {
    (each.api_version, each.kind): each for each in globals().values() if isinstance(each, Resource)
}
"""They need no request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedKinds:
    """Resources by apiVersion and kind, the preferred version of a group first.

    `deletable`: the namespaced kinds that can be listed and deleted, each in one version.
    """

    resources: Mapping[tuple[str, str], Resource]
    deletable: tuple[Resource, ...]

    @property
    def names(self) -> frozenset[str]:
        """`GROUP/VERSION/KIND` of each, as the renderer takes it."""
        return frozenset(f"{version}/{kind}" for version, kind in self.resources)

    def find(self, group: str, kind: str) -> Resource | None:
        """Return a kind in its preferred version, or None if it is not served."""
        for (version, name), resource in self.resources.items():
            if name == kind and group_of(version) == group:
                return resource
        return None


def kinds_of_group(api_version: str, answer: Object) -> dict[str, Resource]:
    """Return the kinds that an API server lists for one group and version, by name."""
    return {
        each["kind"]: Resource(
            api_version, each["kind"], each["name"], namespaced=bool(each["namespaced"])
        )
        for each in answer.get("resources", ())
        if "/" not in each["name"]  # subresources, such as serviceaccounts/token
    }


def served_kinds(groups: list[Mapping[str, Any]]) -> ServedKinds:
    """Return the kinds of the groups in an APIGroupDiscoveryList."""
    found: dict[tuple[str, str], Resource] = {}
    deletable: dict[tuple[str, str], Resource] = {}
    for group in groups:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for each in version.get("resources") or ():
                kind = each["responseKind"]["kind"]
                is_namespaced = each["scope"] == "Namespaced"
                resource = Resource(api_version, kind, each["resource"], namespaced=is_namespaced)
                found[api_version, kind] = resource
                if resource.namespaced and {"list", "delete"} <= set(each["verbs"]):
                    deletable.setdefault((name, kind), resource)
    return ServedKinds(resources=found, deletable=tuple(deletable.values()))
