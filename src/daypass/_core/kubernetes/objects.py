"""Kubernetes objects as plain dictionaries: how they are made and read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from daypass._core.kubernetes.labels import OWNED

Object = dict[str, Any]


class GroupKind(NamedTuple):
    """A kind of objects, in whatever version."""

    group: str
    kind: str


_SERVER_FIELDS = (
    "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
)  # fmt: skip


def new_object(
    api_version: str,
    kind: str,
    name: str,
    namespace: str = "",
    *,
    labels: Mapping[str, str] = {},
    annotations: Mapping[str, str] = {},
    **fields: Any,
) -> Object:
    """Return an object with daypass's labels and these; without a namespace if its kind has none.

    `fields`: what is next to `metadata`, such as `spec`.
    """
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {**OWNED, **labels}
    if annotations:
        metadata["annotations"] = dict(sorted(annotations.items()))
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def name_of(document: Object) -> str:
    """Return an object's name."""
    return str(document["metadata"]["name"])


def uid_of(document: Object) -> str:
    """Return an object's UID."""
    return str(document["metadata"]["uid"])


def group_of(api_version: str) -> str:
    """Return the group of an apiVersion; empty for the core."""
    return api_version.rpartition("/")[0]


def without_server_fields(document: Object) -> Object:
    """Return an object without the metadata that the API server sets."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in _SERVER_FIELDS}
    return {**document, "metadata": metadata}
