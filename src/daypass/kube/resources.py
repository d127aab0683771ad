"""Kinds of objects: their paths in the API, and which of them an API server serves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from daypass._core import labels
from daypass._core.k8s_names import RBAC_GROUP
from daypass._core.k8s_status import Status
from daypass._core.objects import Object, group_of
from daypass.kube.errors import NotFoundError

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
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
_KNOWN = {
    (each.api_version, each.kind): each for each in globals().values() if isinstance(each, Resource)
}


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


class Discovery:
    """The kinds of one API server, cached. `get`: requests a path and returns the answer.

    The kinds that are listed above need no request.
    """

    def __init__(self, get: Callable[..., Object]) -> None:
        self._get = get
        self._groups: dict[str, dict[str, Resource]] = {}
        self._all: ServedKinds | None = None

    def resource(self, api_version: str, kind: str) -> Resource:
        """Return where objects of a kind are. Raises NotFoundError for an unknown kind."""
        found = _KNOWN.get((api_version, kind)) or self.served(api_version, kind)
        if found is None:
            fact = f"the cluster does not serve {kind} in {api_version}"
            status = Status({"kind": "Status", "code": 404, "reason": "NotFound", "message": fact})
            raise NotFoundError(
                status, fact, "check that its CustomResourceDefinition is installed"
            )
        return found

    def served(self, api_version: str, kind: str) -> Resource | None:
        """Return the same, or None if the API server does not serve the kind."""
        if self._all is not None:
            return self._all.resources.get((api_version, kind))
        if api_version not in self._groups:
            self._groups[api_version] = self._load_group(api_version)
        return self._groups[api_version].get(kind)

    def all(self, *, refresh: bool = False) -> ServedKinds | None:
        """Return all kinds, or None if the API server is older than Kubernetes 1.30."""
        if self._all is None or refresh:
            from daypass._core.parallel import in_parallel  # most commands need no discovery

            answers = in_parallel(self._load_all, ("/api", "/apis"))
            if any(answer.get("kind") != "APIGroupDiscoveryList" for answer in answers):
                return None
            self._all = _served_kinds([g for answer in answers for g in answer.get("items") or ()])
        return self._all

    def _load_all(self, path: str) -> Object:
        what = "discover what the API serves"
        return self._get(path, headers={"Accept": _AGGREGATED}, what=what)

    def _load_group(self, api_version: str) -> dict[str, Resource]:
        path = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
        try:
            answer = self._get(path, what=f"discover {api_version}")
        except NotFoundError:
            return {}
        return {
            each["kind"]: Resource(
                api_version, each["kind"], each["name"], namespaced=bool(each["namespaced"])
            )
            for each in answer.get("resources", ())
            if "/" not in each["name"]  # subresources, such as serviceaccounts/token
        }


def _served_kinds(groups: list[Mapping[str, Any]]) -> ServedKinds:
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
