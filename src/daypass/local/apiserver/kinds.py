"""Every kind that the embedded API server has, and the one list of what only a cluster has."""

from __future__ import annotations

from dataclasses import dataclass

from daypass.local.apiserver.schema import (
    ANY,
    BOOL,
    BYTES,
    INT64,
    STRING,
    TIME,
    ListOf,
    MapOf,
    Shape,
    Struct,
)

ONLY_IN_A_CLUSTER = {
    "protobuf and CBOR bodies (what kubectl sends)": "415 with a hint; Accept without JSON: 406",
    "admission policies and webhooks (admissionregistration.k8s.io)": "404",
    "custom resource definitions, and kinds that are not in KINDS": "404",
    "client certificates, OIDC, X-Remote-*, tokens in WebSocket protocols": "not looked at",
    "HTTP/2": "not offered by ALPN",
    "tables, YAML, partial objects of a single get": "plain JSON where it is accepted, else 406",
    "OpenAPI": "404; kubectl apply needs --validate=false",
    "aggregated discovery, metrics": "plain discovery, 404",
    "tokens of a year for pods of old clusters (3607 seconds)": "they live as long as they say",
    "SelfSubjectRulesReview": "404",
    "the deprecated /watch/ paths, proxies, exec and logs": "404",
    "finalizers and a namespace that stays Terminating": "what is deleted is gone at once",
    "controllers beside tokens, default ServiceAccounts and kube-root-ca.crt": "nothing runs",
    "pods that run, are scheduled, defaulted or checked; nodes likewise": "stored as they come",
    "list-merging of strategic and server-side patches": "lists are replaced, `$patch` is a 400",
    "ClusterRole aggregation": "admin, edit and view are whole from the start",
    "constrained impersonation (`impersonate-on:...` in RBAC)": "only `impersonate` counts",
    "validation of an AuthorizationPolicy": "stored as it comes",
    "selectors on other fields than KINDS names": "400",
    "priority and fairness, audit, quotas, limits": "absent",
    "requests whose target holds bytes beyond ASCII": "400 before anything else",
    "bodies nested deeper than 200 levels, YAML above 64 KiB or with anchors": "400 or 413",
}
"""What is not pretended, and what one gets instead. The contract suite reads this list."""

STRINGS = MapOf(STRING)
_OWNER = Struct("v1.OwnerReference", {
    "apiVersion": STRING, "kind": STRING, "name": STRING, "uid": STRING, "controller": BOOL,
    "blockOwnerDeletion": BOOL,
})  # fmt: skip
METADATA = Struct("v1.ObjectMeta", {
    "name": STRING, "generateName": STRING, "namespace": STRING, "selfLink": STRING, "uid": STRING,
    "resourceVersion": STRING, "generation": INT64, "creationTimestamp": TIME,
    "deletionTimestamp": TIME, "deletionGracePeriodSeconds": INT64, "labels": STRINGS,
    "annotations": STRINGS, "ownerReferences": ListOf(_OWNER), "finalizers": ListOf(STRING),
    "managedFields": ANY,
})  # fmt: skip


def _kind(go: str, fields: dict[str, Shape]) -> Struct:
    return Struct(go, {"kind": STRING, "apiVersion": STRING, "metadata": METADATA, **fields})


def _struct(go: str, *strings: str, **others: Shape) -> Struct:
    return Struct(go, {**dict.fromkeys(strings, STRING), **others})


_REFERENCE = _struct(
    "v1.ObjectReference", "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion",
    "fieldPath",
)  # fmt: skip
_NAMES = ListOf(STRING)
_RULE = Struct("v1.PolicyRule", {
    "verbs": _NAMES, "apiGroups": _NAMES, "resources": _NAMES, "resourceNames": _NAMES,
    "nonResourceURLs": _NAMES,
})  # fmt: skip
_BINDING: dict[str, Shape] = {
    "subjects": ListOf(_struct("v1.Subject", "kind", "apiGroup", "name", "namespace")),
    "roleRef": _struct("v1.RoleRef", "apiGroup", "kind", "name"),
}
_BOUND = _struct("v1.BoundObjectReference", "kind", "apiVersion", "name", "uid")
_ATTRIBUTES = _struct(
    "v1.ResourceAttributes", "namespace", "verb", "group", "version", "resource", "subresource",
    "name", fieldSelector=ANY, labelSelector=ANY,
)  # fmt: skip
_ASKED: dict[str, Shape] = {
    "resourceAttributes": _ATTRIBUTES,
    "nonResourceAttributes": _struct("v1.NonResourceAttributes", "path", "verb"),
}
_SUBJECT = Struct("v1.SubjectAccessReviewSpec", {
    **_ASKED, "user": STRING, "groups": _NAMES, "extra": MapOf(_NAMES), "uid": STRING,
})  # fmt: skip
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind, its place in the API, and what may be done with it.

    `subresources` are parts of the stored object that have a path of their own. `selectable` are
    the fields that a field selector may name beside metadata.name and metadata.namespace.
    """

    kind: str
    plural: str
    shape: Struct
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    verbs: tuple[str, ...] = ALL_VERBS
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    selectable: tuple[str, ...] = ()
    returns_deleted: bool = False
    custom: bool = False

    @property
    def group_version(self) -> str:
        """What stands in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version


RBAC, AUTHENTICATION, AUTHORIZATION = (
    "rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
)  # fmt: skip

NAMESPACE = Kind(
    kind="Namespace", plural="namespaces", namespaced=False, short_names=("ns",),
    shape=_kind("v1.Namespace", {"spec": ANY, "status": ANY}), selectable=("status.phase",),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    subresources=("status",), returns_deleted=True,
)  # fmt: skip
SERVICE_ACCOUNT = Kind(
    kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",), returns_deleted=True,
    shape=_kind("v1.ServiceAccount", {
        "secrets": ListOf(_REFERENCE), "automountServiceAccountToken": BOOL,
        "imagePullSecrets": ListOf(_struct("v1.LocalObjectReference", "name")),
    }),
)  # fmt: skip
SECRET = Kind(
    kind="Secret", plural="secrets", selectable=("type",),
    shape=_kind("v1.Secret", {
        "immutable": BOOL, "data": MapOf(BYTES), "stringData": STRINGS, "type": STRING,
    }),
)  # fmt: skip
CONFIG_MAP = Kind(
    kind="ConfigMap", plural="configmaps", short_names=("cm",),
    shape=_kind("v1.ConfigMap", {
        "immutable": BOOL, "data": STRINGS, "binaryData": MapOf(BYTES),
    }),
)  # fmt: skip
POD = Kind(
    kind="Pod", plural="pods", short_names=("po",), subresources=("status",), returns_deleted=True,
    shape=_kind("v1.Pod", {"spec": ANY, "status": ANY}),
    selectable=("spec.nodeName", "spec.serviceAccountName", "status.phase", "status.podIP"),
)  # fmt: skip
NODE = Kind(
    kind="Node", plural="nodes", namespaced=False, short_names=("no",), subresources=("status",),
    shape=_kind("v1.Node", {"spec": ANY, "status": ANY}), selectable=("spec.unschedulable",),
)  # fmt: skip
ROLE = Kind(
    kind="Role", plural="roles", group=RBAC, shape=_kind("v1.Role", {"rules": ListOf(_RULE)}),
)  # fmt: skip
CLUSTER_ROLE = Kind(
    kind="ClusterRole", plural="clusterroles", group=RBAC, namespaced=False,
    shape=_kind("v1.ClusterRole", {"rules": ListOf(_RULE), "aggregationRule": ANY}),
)  # fmt: skip
ROLE_BINDING = Kind(
    kind="RoleBinding", plural="rolebindings", group=RBAC, shape=_kind("v1.RoleBinding", _BINDING),
)  # fmt: skip
CLUSTER_ROLE_BINDING = Kind(
    kind="ClusterRoleBinding", plural="clusterrolebindings", group=RBAC, namespaced=False,
    shape=_kind("v1.ClusterRoleBinding", _BINDING),
)  # fmt: skip
AUTHORIZATION_POLICY = Kind(
    kind="AuthorizationPolicy", plural="authorizationpolicies", group="security.istio.io",
    short_names=("ap",), custom=True,
    shape=_kind("v1.AuthorizationPolicy", {"spec": ANY, "status": ANY}),
)  # fmt: skip
TOKEN_REQUEST = Kind(
    kind="TokenRequest", plural="serviceaccounts/token", group=AUTHENTICATION, verbs=("create",),
    shape=_kind("v1.TokenRequest", {
        "spec": Struct("v1.TokenRequestSpec", {
            "audiences": _NAMES, "expirationSeconds": INT64, "boundObjectRef": _BOUND,
            "attestations": MapOf(_NAMES),
        }),
        "status": _struct("v1.TokenRequestStatus", "token", "expirationTimestamp"),
    }),
)  # fmt: skip


def _review(kind: str, group: str, spec: Struct | None, *, namespaced: bool = False) -> Kind:
    fields: dict[str, Shape] = {"spec": spec, "status": ANY} if spec else {"status": ANY}
    return Kind(
        kind=kind, plural=f"{kind.lower()}s", group=group, namespaced=namespaced, verbs=("create",),
        shape=_kind(f"v1.{kind}", fields),
    )  # fmt: skip


TOKEN_REVIEW = _review(
    "TokenReview", AUTHENTICATION,
    Struct("v1.TokenReviewSpec", {"token": STRING, "audiences": _NAMES}),
)  # fmt: skip
SELF_SUBJECT_REVIEW = _review("SelfSubjectReview", AUTHENTICATION, None)
SUBJECT_ACCESS_REVIEW = _review("SubjectAccessReview", AUTHORIZATION, _SUBJECT)
LOCAL_SUBJECT_ACCESS_REVIEW = _review(
    "LocalSubjectAccessReview", AUTHORIZATION, _SUBJECT, namespaced=True
)
SELF_SUBJECT_ACCESS_REVIEW = _review(
    "SelfSubjectAccessReview", AUTHORIZATION, Struct("v1.SelfSubjectAccessReviewSpec", _ASKED)
)

DELETE_OPTIONS = Kind(
    kind="DeleteOptions", plural="", group="meta.k8s.io", shape=Struct("v1.DeleteOptions", {
        "kind": STRING, "apiVersion": STRING, "metadata": ANY, "gracePeriodSeconds": INT64,
        "preconditions": _struct("v1.Preconditions", "uid", "resourceVersion"),
        "propagationPolicy": STRING, "orphanDependents": BOOL, "dryRun": _NAMES,
        "ignoreStoreReadErrorWithClusterBreakingPotential": BOOL,
    }),
)  # fmt: skip

STORED = (
    NAMESPACE, SERVICE_ACCOUNT, SECRET, CONFIG_MAP, POD, NODE, ROLE, CLUSTER_ROLE, ROLE_BINDING,
    CLUSTER_ROLE_BINDING, AUTHORIZATION_POLICY,
)  # fmt: skip
KINDS = (
    *STORED, TOKEN_REVIEW, SELF_SUBJECT_REVIEW, SUBJECT_ACCESS_REVIEW,
    LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW,
)  # fmt: skip
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
BY_NAME = {(kind.group_version, kind.kind): kind for kind in (*KINDS, TOKEN_REQUEST)}
GROUP_VERSIONS = tuple(dict.fromkeys((kind.group, kind.version) for kind in KINDS))
