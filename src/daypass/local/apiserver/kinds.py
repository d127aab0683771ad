"""The kinds that the embedded API server has, and what it checks of their objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from daypass._core.kubernetes.syntax import RBAC_GROUP, is_label, is_subdomain

Shape: TypeAlias = "type | list[Any] | dict[str, Any]"
"""A scalar's type, `[item]`, or an object's fields by name; `*` stands for all others.

It names the fields that this server reads. Fields that it does not name may hold anything.
"""

_TEXTS = {"*": str}
_METADATA = {
    **dict.fromkeys(("name", "namespace", "uid", "resourceVersion"), str),
    **dict.fromkeys(("labels", "annotations"), _TEXTS),
}
_RULES: dict[str, Shape] = {"rules": [{"*": [str]}]}
_BINDING: dict[str, Shape] = {"subjects": [_TEXTS], "roleRef": _TEXTS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """A kind, its place in the API, and the shape of its objects besides their metadata."""

    kind: str
    group: str = ""
    shape: dict[str, Shape] = field(default_factory=dict)
    is_namespaced: bool = True

    @property
    def plural(self) -> str:
        """Its name in paths and in rules."""
        return f"{self.kind.lower()}s".replace("ys", "ies")

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def resource(self) -> str:
        """Its resource as errors name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def mismatch(self, document: Any) -> str:
        """Return the path of a value that no object of this kind can have, or ""."""
        head = {"apiVersion": str, "kind": str, "metadata": _METADATA}
        return _mismatch(document, head | self.shape, "the object")

    def is_name(self, name: str) -> bool:
        """Return whether an object of this kind can have this name."""
        if self.group == RBAC_GROUP:
            return name not in ("", ".", "..") and "/" not in name and "%" not in name
        return is_label(name) if self is NAMESPACE else is_subdomain(name)


def _mismatch(value: Any, shape: Shape, path: str) -> str:
    if isinstance(shape, type):
        return "" if isinstance(value, shape) else path
    if not isinstance(value, type(shape)):
        return path
    if isinstance(shape, list):
        shape, value = {"*": shape[0]}, dict(enumerate(value))
    for key, inner in value.items():
        below = shape.get(key, shape.get("*"))
        if below is not None and (fault := _mismatch(inner, below, f"{path}.{key}")):
            return fault
    return ""


NAMESPACE = Kind(kind="Namespace", is_namespaced=False)
SERVICE_ACCOUNT = Kind(kind="ServiceAccount")
SECRET = Kind(kind="Secret", shape={"data": _TEXTS, "stringData": _TEXTS, "type": str})
CONFIG_MAP = Kind(kind="ConfigMap")
ROLE = Kind(kind="Role", group=RBAC_GROUP, shape=_RULES)
CLUSTER_ROLE = Kind(kind="ClusterRole", group=RBAC_GROUP, shape=_RULES, is_namespaced=False)
ROLE_BINDING = Kind(kind="RoleBinding", group=RBAC_GROUP, shape=_BINDING)
CLUSTER_ROLE_BINDING = Kind(
    kind="ClusterRoleBinding", group=RBAC_GROUP, shape=_BINDING, is_namespaced=False
)
AUTHORIZATION_POLICY = Kind(kind="AuthorizationPolicy", group="security.istio.io")
TOKEN_REQUEST = Kind(
    kind="TokenRequest",
    group="authentication.k8s.io",
    shape={"spec": {"audiences": [str], "boundObjectRef": _TEXTS, "expirationSeconds": int}},
)
TOKEN_REVIEW = Kind(
    kind="TokenReview",
    group="authentication.k8s.io",
    shape={"spec": {"token": str, "audiences": [str]}},
    is_namespaced=False,
)
_ASKED = {"resourceAttributes": _TEXTS, "nonResourceAttributes": _TEXTS}
SUBJECT_ACCESS_REVIEW = Kind(
    kind="SubjectAccessReview",
    group="authorization.k8s.io",
    shape={"spec": {"user": str, "groups": [str], **_ASKED}},
    is_namespaced=False,
)
DELETE_OPTIONS = Kind(kind="DeleteOptions", shape={"preconditions": _TEXTS, "dryRun": [str]})

STORED = (
    NAMESPACE, SERVICE_ACCOUNT, SECRET, CONFIG_MAP, ROLE, CLUSTER_ROLE, ROLE_BINDING,
    CLUSTER_ROLE_BINDING, AUTHORIZATION_POLICY,
)  # fmt: skip
KINDS = (*STORED, TOKEN_REVIEW, SUBJECT_ACCESS_REVIEW)
BY_PATH = {(kind.group, kind.plural): kind for kind in KINDS}
BY_NAME = {(kind.api_version, kind.kind): kind for kind in STORED}
