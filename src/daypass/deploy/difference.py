"""Two states of an object side by side, without what the server adds and without secrets."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from daypass.deploy.identifier import Identifier
from daypass.kube.resources import Object

_SERVERS_OWN = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)


def shown(document: Object) -> Object:
    """What of an object is looked at: all but what the API server and controllers write."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in _SERVERS_OWN}
    rest = {k: v for k, v in document.items() if k not in ("metadata", "status")}
    head = {name: rest.pop(name) for name in ("apiVersion", "kind")}
    return {**head, "metadata": metadata, **rest}


def unified(identifier: Identifier, before: Object | None, after: Object | None) -> str:
    """A unified diff of YAML; None on a side: there is no such object. Empty for the same."""
    old, new = (None if side is None else shown(side) for side in (before, after))
    if identifier.kind == "Secret":
        old, new = _veiled(old, new, "before"), _veiled(new, old, "after")
    path = f"{identifier.kind}/{identifier.where}"
    lines = difflib.unified_diff(
        _lines(old),
        _lines(new),
        "/dev/null" if old is None else f"cluster/{path}",
        "/dev/null" if new is None else f"config/{path}",
    )
    return "".join(lines)


def _lines(document: Object | None) -> list[str]:
    if document is None:
        return []
    from daypass.render.documents import document as as_yaml

    return as_yaml(document).splitlines(keepends=True)


def _veiled(document: Object | None, other: Object | None, word: str) -> Object | None:
    """A Secret with words for values: the same ones where both hold the same."""
    if document is None:
        return None

    def veil(field: str) -> dict[str, str]:
        there: Mapping[str, str] = (other or {}).get(field) or {}
        return {
            name: "(not shown)" if there.get(name) == value else f"(not shown: {word})"
            for name, value in (document.get(field) or {}).items()
        }

    return {**document, **{name: veil(name) for name in ("data", "stringData") if name in document}}
