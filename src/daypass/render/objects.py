"""Kubernetes objects as plain dictionaries, and the order in which they are made."""

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

LABELS = {"app.kubernetes.io/managed-by": "daypass", "app.kubernetes.io/part-of": "daypass"}

_FIRST = (
    "Namespace",
    "PriorityLevelConfiguration",
    "FlowSchema",
    "ServiceAccount",
    "NetworkPolicy",
    "Certificate",
    "ConfigMap",
    "Service",
)
"""What others need is made before them; a NetworkPolicy before there is a pod that it is for."""


def new_object(
    api_version: str, kind: str, name: str, namespace: str = "", **fields: Any
) -> Object:
    """An object that is daypass'; without a namespace where its kind has none."""
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = dict(LABELS)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def annotated(document: Object, annotations: dict[str, str]) -> Object:
    """The object with annotations; none are written where there are none."""
    if not annotations:
        return document
    metadata = {**document["metadata"], "annotations": dict(sorted(annotations.items()))}
    return {**document, "metadata": metadata}


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Objects in the order in which to apply them; the same for the same objects."""

    def key(document: Object) -> tuple[int, str, str, str]:
        kind, metadata = str(document["kind"]), document["metadata"]
        rank = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
        return rank, kind, str(metadata.get("namespace", "")), str(metadata["name"])

    return sorted(objects, key=key)
