"""JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902) on plain values."""

from __future__ import annotations

import copy
import json
from typing import Any

from daypass.local.api.errors import ApiError, bad_request

OPERATIONS_LIMIT = 10_000
"""As in Kubernetes (`maxJSONPatchOperations`)."""
COPIED_LIMIT_CHARACTERS = 3 * 1024 * 1024
"""All that `copy` may copy: a hundred of them would double an object a hundred times."""
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")


def merge(target: Any, patch: Any) -> Any:
    """`target` after a merge patch; neither of them is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def has_directive(patch: Any) -> bool:
    """Whether a strategic merge patch asks for more than a merge patch can do."""
    if isinstance(patch, dict):
        own = any(key.startswith("$") and key != "$retainKeys" for key in patch)
        return own or any(map(has_directive, patch.values()))
    return isinstance(patch, list) and any(map(has_directive, patch))


def rejected() -> ApiError:
    """The 422 for a patch whose outcome is nothing that could be kept."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, {})


def json_patch(document: Any, patch: Any) -> Any:
    """`document` after a JSON patch. Raises the 400 for no patch, the 422 for one that fails."""
    if not isinstance(patch, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "[]handlers.jsonPatchOp"
        )
    if not all(isinstance(operation, dict) for operation in patch):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal number into Go value of type "
            "handlers.jsonPatchOp"
        )
    if len(patch) > OPERATIONS_LIMIT:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{OPERATIONS_LIMIT}, got {len(patch)}",
        )
    document = copy.deepcopy(document)
    copied = 0
    try:
        for operation in patch:
            if operation["op"] == "copy":
                copied += len(json.dumps(_get(document, _pointer(operation["from"]))))
            if copied > COPIED_LIMIT_CHARACTERS:
                raise ValueError("copied too much")
            document = _apply(document, operation)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        raise rejected() from None
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind not in _OPERATIONS:
        raise ValueError(kind)
    if kind == "test":
        if _get(document, path) != operation["value"]:
            raise ValueError("test")
        return document
    value = operation["value"] if kind in ("add", "replace") else None
    if kind in ("move", "copy"):
        source = _pointer(operation["from"])
        value = copy.deepcopy(_get(document, source))
        if kind == "move":
            _take(document, source)
    if kind in ("remove", "replace"):
        if not path:
            return value
        _take(document, path)
    return document if kind == "remove" else _put(document, path, copy.deepcopy(value))


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(text)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], token: str, *, end: int) -> int:
    if not token.isascii() or not token.isdigit() or len(token) > 9 or int(token) >= end:
        raise IndexError(token)
    return int(token)


def _get(document: Any, path: list[str]) -> Any:
    for token in path:
        if isinstance(document, list):
            document = document[_index(document, token, end=len(document))]
        else:
            document = document[token]
    return document


def _take(document: Any, path: list[str]) -> None:
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent.pop(_index(parent, path[-1], end=len(parent)))
    else:
        del parent[path[-1]]


def _put(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        end = len(parent) + 1
        at = len(parent) if path[-1] == "-" else _index(parent, path[-1], end=end)
        parent.insert(at, value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TypeError(path)
    return document
