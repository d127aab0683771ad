"""The kinds that the embedded API server has, and the list of what only a cluster has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

ONLY_IN_A_CLUSTER = {
    "kinds that are not in KINDS, such as Pods, Nodes, custom resources and policies": "404",
    "tokens bound to Pods and Nodes": "400",
    "bodies in YAML or CBOR": "415",
    "answers in protobuf, which kubectl asks for": "JSON, which it accepts, too",
    "bodies deeper than 200 levels": "400",
    "metadata of a TokenRequest": "not compared with the path",
    "duplicate fields": "the last one is read, without a warning",
    "tables and other formats in Accept than JSON and metadata": "JSON: kubectl shows names, ages",
    "OpenAPI schemas, such as for kubectl explain": "only the parameters of a PATCH",
    "aggregated discovery, metrics": "the discovery of one version at a time, 404",
    "SelfSubjectRulesReview, LocalSubjectAccessReview, /watch/ paths, proxies": "404",
    "reasons of access reviews": "none",
    "impersonation": "400",
    "client certificates, OIDC, X-Remote-* headers": "ignored; only bearer tokens are read",
    "HTTP/2": "not offered by ALPN",
    "HEAD": "405",
    "JSON patches": "415; other patches and apply are read",
    "lists in strategic merge patches that are merged, directives": "415",
    "field ownership": "an apply never conflicts; it removes what its manager no longer sends",
    "list merging in an apply": "lists are replaced",
    "pages (limit, continue)": "the whole list",
    "selectors other than `key=value`, fields other than KINDS names": "400",
    "deletecollection, generateName": "405, 422",
    "list resourceVersionMatch": "ignored; a list is always the latest",
    "resourceNames for list and watch": "no request matches them",
    "privilege escalation in RBAC": "not checked: who may create Roles can grant any right",
    "ClusterRole aggregation": "admin, edit and view are complete from the start",
    "immutable ConfigMaps and Secrets, keys of their data": "not checked",
    "rules of Roles, subjects of bindings": "not checked; what is incomplete grants nothing",
    "validation of an AuthorizationPolicy": "not checked",
    "finalizers, owner references, a namespace that stays Terminating": "deleted at once",
    "other controllers than those for tokens, default ServiceAccounts and kube-root-ca.crt": "none",
    "admission, quotas, audit, priority and fairness": "none",
    "flags: issuer, audiences, longest lifetime (24 h), anonymous access": "fixed",
}
"""What the embedded API server does not do, and what happens instead."""

ANY, BYTES = object, bytes


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any keys and values of one shape."""

    item: Shape


Shape: TypeAlias = "type | list[Any] | MapOf | dict[str, Any]"
"""A scalar's type, ANY, `[item]`, a MapOf, or an object's fields by name.

The fields are in the order of their numbers in protobuf, after `kind` and `apiVersion` of an
object; "" stands for a number that has no field.
"""

_STRINGS = MapOf(str)


def _strings(*names: str) -> dict[str, Shape]:
    return dict.fromkeys(names, str)


_OWNER: dict[str, Any] = {
    "kind": str, "": None, **_strings("name", "uid", "apiVersion"), "controller": bool,
    "blockOwnerDeletion": bool,
}  # fmt: skip
_METADATA: dict[str, Shape] = {
    **_strings("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
    "generation": ANY, "creationTimestamp": ANY, "deletionTimestamp": ANY,
    "deletionGracePeriodSeconds": int, "labels": _STRINGS, "annotations": _STRINGS,
    "ownerReferences": [_OWNER], "finalizers": [str], "managedFields": ANY,
}  # fmt: skip
_REFERENCE = _strings(
    "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"
)
_SELECTOR: dict[str, Shape] = {
    "matchLabels": _STRINGS,
    "matchExpressions": [{"key": str, "operator": str, "values": [str]}],
}


def _object(**fields: Shape) -> dict[str, Shape]:
    return {"kind": str, "apiVersion": str, "metadata": _METADATA, **fields}


_RULES: Shape = [{
    "verbs": [str], "apiGroups": [str], "resources": [str], "resourceNames": [str],
    "nonResourceURLs": [str],
}]  # fmt: skip
_BINDING: dict[str, Shape] = {
    "subjects": [_strings("kind", "apiGroup", "name", "namespace")],
    "roleRef": _strings("apiGroup", "kind", "name"),
}
_ACCESS: dict[str, Shape] = {
    "resourceAttributes": {
        **_strings("namespace", "verb", "group", "version", "resource", "subresource", "name"),
        "fieldSelector": ANY, "labelSelector": ANY,
    },
    "nonResourceAttributes": _strings("path", "verb"),
}  # fmt: skip
_SUBJECT: dict[str, Shape] = {
    **_ACCESS, "user": str, "groups": [str], "extra": ANY, "uid": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """A kind, its place in the API, and the shape of its objects.

    `selectable`: the fields for field selectors, besides metadata.name and metadata.namespace.
    """

    kind: str
    plural: str
    shape: dict[str, Shape]
    group: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    selectable: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("create", "delete", "get", "list", "patch", "update", "watch")

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def root(self) -> str:
        """Where its API version is: `api/v1` or `apis/GROUP/v1`."""
        return f"apis/{self.api_version}" if self.group else f"api/{self.api_version}"


RBAC, AUTHENTICATION, AUTHORIZATION = (
    "rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
)  # fmt: skip

NAMESPACE = Kind(
    kind="Namespace", plural="namespaces", namespaced=False, short_names=("ns",),
    shape=_object(spec={"finalizers": [str]}, status=ANY),
)  # fmt: skip
SERVICE_ACCOUNT = Kind(
    kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",),
    shape=_object(
        secrets=[_REFERENCE], imagePullSecrets=[_strings("name")],
        automountServiceAccountToken=bool,
    ),
)  # fmt: skip
SECRET = Kind(
    kind="Secret", plural="secrets", selectable=("type",),
    shape=_object(data=MapOf(BYTES), type=str, stringData=_STRINGS, immutable=bool),
)  # fmt: skip
CONFIG_MAP = Kind(
    kind="ConfigMap", plural="configmaps", short_names=("cm",),
    shape=_object(data=_STRINGS, binaryData=MapOf(BYTES), immutable=bool),
)  # fmt: skip
EVENT = Kind(  # `kubectl describe` lists them
    kind="Event", plural="events", short_names=("ev",),
    selectable=tuple(f"involvedObject.{key}" for key in ("kind", "name", "namespace", "uid")),
    shape=_object(involvedObject=_REFERENCE, reason=str, message=str),
)  # fmt: skip
ROLE = Kind(kind="Role", plural="roles", group=RBAC, shape=_object(rules=_RULES))
CLUSTER_ROLE = Kind(
    kind="ClusterRole", plural="clusterroles", group=RBAC, namespaced=False,
    shape=_object(rules=_RULES, aggregationRule={"clusterRoleSelectors": [_SELECTOR]}),
)  # fmt: skip
ROLE_BINDING = Kind(
    kind="RoleBinding", plural="rolebindings", group=RBAC, shape=_object(**_BINDING)
)
CLUSTER_ROLE_BINDING = Kind(
    kind="ClusterRoleBinding", plural="clusterrolebindings", group=RBAC, namespaced=False,
    shape=_object(**_BINDING),
)  # fmt: skip
AUTHORIZATION_POLICY = Kind(
    kind="AuthorizationPolicy", plural="authorizationpolicies", group="security.istio.io",
    short_names=("ap",), shape=_object(spec=ANY, status=ANY),
)  # fmt: skip
TOKEN_REQUEST = Kind(
    kind="TokenRequest", plural="serviceaccounts/token", group=AUTHENTICATION, verbs=("create",),
    shape=_object(
        spec={
            "audiences": [str], "": None,
            "boundObjectRef": _strings("kind", "apiVersion", "name", "uid"),
            "expirationSeconds": int,
        },
        status=ANY,
    ),
)  # fmt: skip


def _review(kind: str, group: str, **fields: Shape) -> Kind:
    return Kind(
        kind=kind,
        plural=f"{kind.lower()}s",
        group=group,
        namespaced=False,
        verbs=("create",),
        shape=_object(**fields, status=ANY),
    )


TOKEN_REVIEW = _review("TokenReview", AUTHENTICATION, spec={"token": str, "audiences": [str]})
SELF_SUBJECT_REVIEW = _review("SelfSubjectReview", AUTHENTICATION)
SUBJECT_ACCESS_REVIEW = _review("SubjectAccessReview", AUTHORIZATION, spec=_SUBJECT)
SELF_SUBJECT_ACCESS_REVIEW = _review("SelfSubjectAccessReview", AUTHORIZATION, spec=_ACCESS)

DELETE_OPTIONS = Kind(
    kind="DeleteOptions", plural="", shape={
        "kind": str, "apiVersion": str, "gracePeriodSeconds": int,
        "preconditions": _strings("uid", "resourceVersion"), "orphanDependents": bool,
        "propagationPolicy": str, "dryRun": [str],
    },
)  # fmt: skip

STORED = (
    NAMESPACE, SERVICE_ACCOUNT, SECRET, CONFIG_MAP, EVENT, ROLE, CLUSTER_ROLE, ROLE_BINDING,
    CLUSTER_ROLE_BINDING, AUTHORIZATION_POLICY,
)  # fmt: skip
KINDS = (
    *STORED, TOKEN_REVIEW, SELF_SUBJECT_REVIEW, SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW,
)  # fmt: skip
BY_PATH = {(kind.group, kind.plural): kind for kind in KINDS}
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS))
