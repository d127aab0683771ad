"""Kinds of objects and their paths in the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of object: `api_version` is GROUP/VERSION or just v1, `plural` as in URLs."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

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

    def named(self, namespace: str | None, name: str) -> str:
        """Return the name of an object in messages: `secrets/x in team`."""
        where = f" in {namespace}" if namespace and self.namespaced else ""
        return f"{self.plural}/{name}{where}"


_RBAC = "rbac.authorization.k8s.io/v1"

NAMESPACES = Resource(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False)
SERVICE_ACCOUNTS = Resource(api_version="v1", kind="ServiceAccount", plural="serviceaccounts")
SECRETS = Resource(api_version="v1", kind="Secret", plural="secrets")
CONFIG_MAPS = Resource(api_version="v1", kind="ConfigMap", plural="configmaps")
PODS = Resource(api_version="v1", kind="Pod", plural="pods")
ROLES = Resource(api_version=_RBAC, kind="Role", plural="roles")
ROLE_BINDINGS = Resource(api_version=_RBAC, kind="RoleBinding", plural="rolebindings")
CLUSTER_ROLES = Resource(
    api_version=_RBAC, kind="ClusterRole", plural="clusterroles", namespaced=False
)
CLUSTER_ROLE_BINDINGS = Resource(
    api_version=_RBAC, kind="ClusterRoleBinding", plural="clusterrolebindings", namespaced=False
)
AUTHORIZATION_POLICIES = Resource(
    api_version="security.istio.io/v1", kind="AuthorizationPolicy", plural="authorizationpolicies"
)
ENVOY_FILTERS = Resource(
    api_version="networking.istio.io/v1alpha3", kind="EnvoyFilter", plural="envoyfilters"
)
LEASES = Resource(api_version="coordination.k8s.io/v1", kind="Lease", plural="leases")
VALIDATING_ADMISSION_POLICIES = Resource(
    api_version="admissionregistration.k8s.io/v1",
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    namespaced=False,
)
VALIDATING_ADMISSION_POLICY_BINDINGS = Resource(
    api_version="admissionregistration.k8s.io/v1",
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    namespaced=False,
)


def group_of(api_version: str) -> str:
    """Return the group of an apiVersion; empty for the core."""
    return api_version.rpartition("/")[0]


def name_of(document: Object) -> str:
    """Return an object's name."""
    return str(document["metadata"]["name"])


def uid_of(document: Object) -> str:
    """Return an object's UID."""
    return str(document["metadata"]["uid"])


_SERVER_FIELDS = (
    "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
)  # fmt: skip


def without_server_fields(document: Object) -> Object:
    """Return an object without the metadata that the API server sets."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in _SERVER_FIELDS}
    return {**document, "metadata": metadata}
