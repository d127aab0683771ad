"""A YAML file with secrets in it, read field by field; no error quotes what it holds."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from daypass.kube.errors import KubeconfigError

LIMIT_BYTES = 4 * 1024 * 1024

Fields = dict[str, Any]


def read_yaml(path: Path) -> Fields:
    """The mapping in a file. Raises KubeconfigError, as everything here."""
    content = _content(path)
    try:
        document = yaml.load(content, Loader=_Loader)  # noqa: S506 - made of the safe one
    except Exception:
        # The constructors of odd tags raise anything, and all of it may quote the secrets inside.
        raise KubeconfigError(f"{path} is not whole YAML", "is it a kubeconfig?") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig", "")
    return document


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Anchors are shared when they are used, but `<<` copies: a few lines become gigabytes."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("merge keys are not read")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no path"
        raise KubeconfigError(f"{path} cannot be read: {reason}", "") from None
    if len(content) > LIMIT_BYTES:
        raise KubeconfigError(f"{path} is larger than 4 MiB", "is it the right file?")
    return content


def entries_of(fields: Fields, name: str, path: Path) -> list[Fields]:
    """A field that is a list of mappings; an empty list where it is absent."""
    entries = fields.get(name) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KubeconfigError(f"{path}: `{name}` is not a list of entries", "")
    return entries


def fields_of(fields: Fields, name: str, path: Path) -> Fields:
    """A field that is a mapping; an empty one where it is absent."""
    value = fields.get(name) or {}
    if not isinstance(value, dict):
        raise KubeconfigError(f"{path}: `{name}` is not a mapping", "")
    return value


def texts_of(fields: Fields, name: str, path: Path) -> list[str]:
    """A field that is a list of strings; an empty list where it is absent."""
    values = fields.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise KubeconfigError(f"{path}: `{name}` is not a list of strings", "put each in quotes")
    return values


def text_of(fields: Fields, name: str, path: Path) -> str | None:
    """A field that is a string; None where it is absent or empty."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise KubeconfigError(f"{path}: `{name}` is not a string", "put it in quotes")
    if "\0" in value:
        raise KubeconfigError(f"{path}: `{name}` holds a NUL", "")
    return value


def material_of(fields: Fields, name: str, path: Path) -> str | None:
    """PEM, inline (`NAME-data`, base64) or in the file that NAME is the path of."""
    inline, file = text_of(fields, f"{name}-data", path), text_of(fields, name, path)
    try:
        if inline is not None:
            return base64.b64decode(inline, validate=True).decode("ascii")
        return None if file is None else _content(path.parent / file).decode("ascii")
    except ValueError:
        raise KubeconfigError(f"{path}: `{name}` is not PEM", "") from None
