"""An object before and after, as a diff, without server fields and values of Secrets."""

from __future__ import annotations

from collections.abc import Mapping

from daypass._core.text import unified_diff
from daypass.deploy.object_ref import ObjectRef
from daypass.kube.resources import Object, without_server_fields
from daypass.render.yaml import document as as_yaml


def comparable(document: Object) -> Object:
    """Return an object without what the API server and controllers write."""
    rest = {k: v for k, v in without_server_fields(document).items() if k != "status"}
    head = {name: rest.pop(name) for name in ("apiVersion", "kind", "metadata")}
    return {**head, **rest}


def object_diff(ref: ObjectRef, before: Object | None, after: Object | None) -> str:
    """Return a unified diff of YAML, empty if nothing differs. None: there is no such object."""
    old, new = (None if side is None else comparable(side) for side in (before, after))
    if ref.kind == "Secret":
        old, new = _veiled(old, new, "before"), _veiled(new, old, "after")
    path = f"{ref.kind}/{ref.where}"
    old_text, new_text = (None if side is None else as_yaml(side) for side in (old, new))
    return unified_diff(old_text, new_text, f"cluster/{path}", f"config/{path}")


def _veiled(document: Object | None, other: Object | None, word: str) -> Object | None:
    """Replace the values of a Secret, the same way where both sides hold the same."""
    if document is None:
        return None

    def veil(field: str) -> dict[str, str]:
        there: Mapping[str, str] = (other or {}).get(field) or {}
        return {
            name: "(not shown)" if there.get(name) == value else f"(not shown: {word})"
            for name, value in (document.get(field) or {}).items()
        }

    return {**document, **{name: veil(name) for name in ("data", "stringData") if name in document}}
