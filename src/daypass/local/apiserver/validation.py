"""What happens to an object before it is stored: defaults, then checks.

The checks are those that daypass's own commands can run into; ONLY_IN_A_CLUSTER lists the rest.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from daypass._core.k8s_names import is_label, is_subdomain
from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import Cause, StatusError, invalid_value, required, unsupported
from daypass.local.apiserver.kinds import (
    AUTHORIZATION_POLICY,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    RBAC,
    ROLE,
    ROLE_BINDING,
    SECRET,
    Kind,
)
from daypass.local.apiserver.store import Object

ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105
_PROTECTED_NAMESPACES = ("default", "kube-system", "kube-public")
_SUBJECTS = ("ServiceAccount", "User", "Group")
_QUALIFIED = re.compile(r"(?:([^/]*)/)?([A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def with_defaults(kind: Kind, obj: Object) -> Object:
    """Return the object with the defaults of its kind, without empty maps and lists."""
    if kind is AUTHORIZATION_POLICY:
        return obj
    obj = dict(obj)
    if kind is NAMESPACE:
        name = {"kubernetes.io/metadata.name": obj["metadata"].get("name", "")}
        obj["metadata"] = {
            **obj["metadata"], "labels": {**obj["metadata"].get("labels", {}), **name}
        }  # fmt: skip
        obj |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    elif kind is SECRET:
        plain = obj.pop("stringData", {})
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        obj["data"] = {**obj.get("data", {}), **encoded}
        obj["type"] = obj.get("type") or "Opaque"
    elif kind in (ROLE, CLUSTER_ROLE):
        obj["rules"] = obj.get("rules") or None
    elif kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        obj["roleRef"] = {"apiGroup": RBAC, **obj.get("roleRef", {})}
        obj["subjects"] = [_with_api_group(each) for each in obj.get("subjects", [])]
    metadata = {key: value for key, value in obj["metadata"].items() if value not in ({}, [])}
    full = {key: value for key, value in obj.items() if value not in ({}, [])}
    return {**full, "metadata": metadata}


def _with_api_group(subject: Object) -> Object:
    group = {"apiGroup": RBAC} if subject.get("kind") in ("User", "Group") else {}
    return {"kind": subject.get("kind", ""), **group, **subject}


def check(kind: Kind, obj: Object, before: Object | None) -> None:
    """Raise the 422 for an invalid object. `before`: the stored one, for an update."""
    causes = [*_metadata_causes(kind, obj["metadata"])]
    if kind in (SECRET, CONFIG_MAP):
        causes += [
            invalid_value(f"{part}[{key}]", key, "is not a valid config key")
            for part in ("data", "binaryData")
            for key in obj.get(part, {})
            if key in (".", "..") or not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key)
        ]
    if kind is SECRET:
        causes += _secret_causes(obj, before)
    elif kind in (ROLE, CLUSTER_ROLE):
        for index, rule in enumerate(obj["rules"] or []):
            causes += _rule_causes(rule, f"rules[{index}]")
    elif kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        causes += _binding_causes(kind, obj, before)
    if causes:
        raise errors.invalid(kind.group, kind.kind, obj["metadata"].get("name", ""), causes)


def path_segment_fault(name: str) -> str:
    """Return why a name cannot be a segment of a path, or ""."""
    if name in (".", ".."):
        return f"may not be '{name}'"
    return next((f"may not contain '{each}'" for each in "/%" if each in name), "")


def _metadata_causes(kind: Kind, metadata: dict[str, Any]) -> list[Cause]:
    name, causes = metadata.get("name", ""), []
    if not name:
        causes.append(required("metadata.name", "name is required"))
    elif kind.group == RBAC:
        if fault := path_segment_fault(name):
            causes.append(invalid_value("metadata.name", name, fault))
    elif kind is NAMESPACE and not is_label(name):
        why = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
        causes.append(invalid_value("metadata.name", name, why))
    elif not is_subdomain(name):
        why = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.'"
        )
        causes.append(invalid_value("metadata.name", name, why))
    labels = metadata.get("labels", {})
    for field, keys in (("labels", labels), ("annotations", metadata.get("annotations", {}))):
        causes += [
            invalid_value(f"metadata.{field}", key, "is not a qualified name")
            for key in keys
            if not is_qualified(key)
        ]
    causes += [
        invalid_value("metadata.labels", value, "is not a label value")
        for value in labels.values()
        if not is_label_value(value)
    ]
    return causes


def is_qualified(key: str) -> bool:
    """Return whether this can be the key of a label or an annotation."""
    found = _QUALIFIED.fullmatch(key)
    return found is not None and (found[1] is None or is_subdomain(found[1]))


def is_label_value(value: str) -> bool:
    """Return whether this can be the value of a label."""
    return _LABEL_VALUE.fullmatch(value) is not None


def _secret_causes(obj: Object, before: Object | None) -> list[Cause]:
    causes = []
    if obj["type"] == TOKEN_TYPE and not obj["metadata"].get("annotations", {}).get(
        ACCOUNT_ANNOTATION
    ):
        causes.append(required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]"))
    if before is not None and before["type"] != obj["type"]:
        causes.append(invalid_value("type", obj["type"], "field is immutable"))
    return causes


def _rule_causes(rule: dict[str, list[str]], path: str) -> list[Cause]:
    if not rule.get("verbs"):
        return [required(f"{path}.verbs")]
    if rule.get("nonResourceURLs"):
        return []
    return [required(f"{path}.{key}") for key in ("apiGroups", "resources") if not rule.get(key)]


def _binding_causes(kind: Kind, obj: Object, before: Object | None) -> list[Cause]:
    role, causes = obj["roleRef"], []
    kinds = ("ClusterRole",) if kind is CLUSTER_ROLE_BINDING else ("Role", "ClusterRole")
    if role["apiGroup"] != RBAC:
        causes.append(unsupported("roleRef.apiGroup", role["apiGroup"], (RBAC,)))
    if role.get("kind", "") not in kinds:
        causes.append(unsupported("roleRef.kind", role.get("kind", ""), kinds))
    if not role.get("name"):
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(obj.get("subjects", [])):
        causes += _subject_causes(kind, subject, f"subjects[{index}]")
    if before is not None and before["roleRef"] != role:
        causes.append(invalid_value("roleRef", role, "field is immutable"))
    return causes


def _subject_causes(kind: Kind, subject: Object, path: str) -> list[Cause]:
    causes = []
    if subject["kind"] not in _SUBJECTS:
        causes.append(unsupported(f"{path}.kind", subject["kind"], _SUBJECTS))
    needed = ["name"]
    if subject["kind"] == "ServiceAccount" and kind is CLUSTER_ROLE_BINDING:
        needed.append("namespace")
    return causes + [required(f"{path}.{key}") for key in needed if not subject.get(key)]


def protected(kind: Kind, name: str) -> StatusError | None:
    """Return the 403 for an object that cannot be deleted, or None."""
    if kind is NAMESPACE and name in _PROTECTED_NAMESPACES:
        return errors.forbidden("", kind.plural, name, "this namespace may not be deleted")
    return None
