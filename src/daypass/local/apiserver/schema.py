"""From a request's body to an object that may be stored: syntax, types, defaults, checks.

The checks are those that daypass's own commands can run into; ONLY_IN_A_CLUSTER lists the rest.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import LABEL_VALUE, is_label, is_subdomain
from daypass.kube.resources import ACCOUNT_ANNOTATION, TOKEN_TYPE
from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import Cause, invalid_value, quote, required, unsupported
from daypass.local.apiserver.kinds import (
    ANY,
    AUTHORIZATION_POLICY,
    BYTES,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    NAMESPACE,
    RBAC,
    ROLE,
    ROLE_BINDING,
    SECRET,
    Kind,
    MapOf,
    Shape,
)

BODY_LIMIT_BYTES = 3 * 1024 * 1024
DEPTH_LIMIT = 200
WARNINGS_LIMIT = 100
JSON = "application/json"
_LABEL_NAME = re.compile(LABEL_VALUE)


class ShapeError(Exception):
    """A body that cannot be read, or a value of the wrong type."""


def parse(body: bytes) -> Any:
    """Return a JSON document. Raises ShapeError."""
    try:
        value = json.loads(body.decode("utf-8", "replace"))
    except ValueError as error:
        raise ShapeError(f"json parse error: {error}") from None
    except RecursionError:
        raise ShapeError(f"exceeded max depth {DEPTH_LIMIT}") from None
    if _is_deeper(value, DEPTH_LIMIT):
        raise ShapeError(f"exceeded max depth {DEPTH_LIMIT}")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def read(value: Any, shape: Shape, path: str, unknown: list[str]) -> Any:
    """Return a parsed value without nulls and unknown fields, which `unknown` gets.

    Raises ShapeError for a value of the wrong type.
    """
    if isinstance(value, dict):
        if shape is ANY or isinstance(shape, dict | MapOf):
            return _read_object(value, shape, path, unknown)
    elif isinstance(value, list):
        if shape is ANY or isinstance(shape, list):
            item = shape[0] if isinstance(shape, list) else ANY
            listed = [each for each in value if each is not None]
            return [read(each, item, f"{path}[{i}]", unknown) for i, each in enumerate(listed)]
    elif (scalar := _read_scalar(value, shape, path)) is not None:
        return scalar
    name = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")
    raise ShapeError(f"cannot unmarshal {name} into {path or 'the object'}")


def _read_object(
    value: dict[str, Any], shape: Shape, path: str, unknown: list[str]
) -> dict[str, Any]:
    result = {}
    for key, inner in value.items():
        below = f"{path}.{key}" if path else key
        field: Shape | None = ANY
        if isinstance(shape, dict):
            field = shape.get(key)
        elif isinstance(shape, MapOf):
            field = shape.item
        if field is None:
            if len(unknown) < WARNINGS_LIMIT:
                unknown.append(f"unknown field {quote(below)}")
        elif inner is not None:
            result[_well_formed(key)] = read(inner, field, below, unknown)
    return result


def _read_scalar(value: Any, shape: Shape, path: str) -> Any:
    if isinstance(value, str):
        if shape is BYTES:
            try:
                binascii.a2b_base64(value.replace("\n", ""), strict_mode=True)
            except ValueError:
                raise ShapeError(f"illegal base64 data in {path}") from None
        return _well_formed(value) if shape in (str, BYTES, ANY) else None
    if isinstance(value, bool):
        return value if shape in (bool, ANY) else None
    if isinstance(value, int):
        return value if shape in (int, ANY) and -(2**63) <= value < 2**63 else None
    return value if shape is ANY and isinstance(value, float) and math.isfinite(value) else None


def _well_formed(text: str) -> str:
    """Return the text without halves of surrogate pairs, which cannot be encoded."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def with_defaults(kind: Kind, obj: Object) -> Object:
    """Return the object with the defaults of its kind, without empty maps and lists."""
    if kind is AUTHORIZATION_POLICY:
        return obj
    obj = dict(obj)
    if kind is NAMESPACE:
        name = {"kubernetes.io/metadata.name": obj["metadata"].get("name", "")}
        labels = {**obj["metadata"].get("labels", {}), **name}
        obj["metadata"] = {**obj["metadata"], "labels": labels}
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
    return {**group, **subject}


def check(kind: Kind, obj: Object, before: Object | None) -> None:
    """Raise the 422 for an invalid object. `before`: the stored one, for an update."""
    causes = _metadata_causes(kind, obj["metadata"])
    if kind is SECRET:
        annotations = obj["metadata"].get("annotations", {})
        if obj["type"] == TOKEN_TYPE and not annotations.get(ACCOUNT_ANNOTATION):
            causes.append(required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]"))
        if before is not None and before["type"] != obj["type"]:
            causes.append(invalid_value("type", obj["type"], "field is immutable"))
    elif kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        role = obj["roleRef"]
        kinds = ("ClusterRole",) if kind is CLUSTER_ROLE_BINDING else ("Role", "ClusterRole")
        if role["apiGroup"] != RBAC:
            causes.append(unsupported("roleRef.apiGroup", role["apiGroup"], (RBAC,)))
        if role.get("kind", "") not in kinds:
            causes.append(unsupported("roleRef.kind", role.get("kind", ""), kinds))
        if not role.get("name"):
            causes.append(required("roleRef.name"))
        if before is not None and before["roleRef"] != role:
            causes.append(invalid_value("roleRef", role, "field is immutable"))
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
        causes.append(required("metadata.name"))
    elif fault := _name_fault(kind, name):
        causes.append(invalid_value("metadata.name", name, fault))
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    for field, keys in (("labels", labels), ("annotations", annotations)):
        causes += [
            invalid_value(f"metadata.{field}", key, "is not a qualified name")
            for key in keys
            if not _is_qualified(key)
        ]
    causes += [
        invalid_value("metadata.labels", value, "is not a label value")
        for value in labels.values()
        if value and not _LABEL_NAME.fullmatch(value)
    ]
    return causes


def _name_fault(kind: Kind, name: str) -> str:
    if kind.group == RBAC:
        return path_segment_fault(name)
    characters = "must consist of lower case alphanumeric characters"
    if kind is NAMESPACE:
        return "" if is_label(name) else f"a lowercase RFC 1123 label {characters} or '-'"
    return "" if is_subdomain(name) else f"a lowercase RFC 1123 subdomain {characters}, '-' or '.'"


def _is_qualified(key: str) -> bool:
    """Return whether this can be the key of a label or an annotation."""
    prefix, slash, name = key.rpartition("/")
    return _LABEL_NAME.fullmatch(name) is not None and (not slash or is_subdomain(prefix))
