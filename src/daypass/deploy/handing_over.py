"""Handing EKF's hosts over to the door: which files change, and how. Nothing is written here.

EKF's Ingress leads to the API server itself, from whatever namespace it is in, and an Ingress
reaches Services of its own namespace only. So it isn't bent towards the door: that would take a
Service of type ExternalName (which controllers refuse, or resolve in ways of their own), the door's
authority copied into that namespace, and a rewrite and a pattern undone that are in a base nobody
can see. It is given a class that no controller serves, and daypass' own Ingress, beside the door,
takes the host and the prefix. It is the same object before and after: applying the overlay takes
effect at once, and `git revert` takes it back.
"""

import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

from daypass.deploy.edits import Edit, read
from daypass.deploy.ekf import LayoutError, Overlay, load_kustomization

HANDED_OVER = "handed-over-to-daypass"
"""The class of an Ingress that nobody serves any more."""

DOOR_PATCH = "patches/daypass_door.yaml"
_ANNOTATION = "kubernetes.io/ingress.class"
_TEXT = f"""\
# daypass publishes this host, by an Ingress of its own that leads to the door. This one led to the
# API server itself: with this class no controller serves it. `git revert` takes it back.
- op: {{op}}
  path: {{path}}
  value: {HANDED_OVER}
"""
# As the base has it, since an Ingress can't have both: the older way, or the newer one.
_BY_ANNOTATION = _TEXT.format(
    op="replace", path="/metadata/annotations/kubernetes.io~1ingress.class"
)
_BY_FIELD = _TEXT.format(op="add", path="/spec/ingressClassName")


def hand_over(overlay: Overlay, ingress: Mapping[str, Any]) -> list[Edit]:
    """What takes the Ingress that an overlay builds out of service. Raises LayoutError."""
    path = overlay.root / overlay.folder / DOOR_PATCH
    before = read(path)
    if before not in (None, _BY_ANNOTATION, _BY_FIELD):
        raise LayoutError(
            f"{overlay.folder}/{DOOR_PATCH} is there, and is not as daypass writes it",
            "move it away, or restore it with git",
        )
    listing = read(overlay.kustomization) or ""
    name = posixpath.join(overlay.folder, overlay.kustomization.name)
    target = overlay.target or {"kind": "Ingress", "name": ingress["metadata"]["name"]}
    text = _BY_ANNOTATION if _ANNOTATION in _annotations(ingress) else _BY_FIELD
    edits = [
        Edit(path=path, before=before, after=text),
        Edit(
            path=overlay.kustomization,
            before=listing,
            after=with_patch(listing, name, target),
        ),
    ]
    return [edit for edit in edits if edit.after != edit.before]


def is_handed_over(ingress: Mapping[str, Any]) -> bool:
    """Whether no controller serves an Ingress any more."""
    classes = {_annotations(ingress).get(_ANNOTATION), ingress["spec"].get("ingressClassName")}
    return classes - {None} == {HANDED_OVER}


def first_host(ingress: Mapping[str, Any]) -> object:
    """The host of its first rule."""
    rules = ingress["spec"].get("rules") or [{}]
    return rules[0].get("host")


def _annotations(ingress: Mapping[str, Any]) -> dict[str, str]:
    return ingress["metadata"].get("annotations") or {}


def with_patch(text: str, name: str, target: Mapping[str, Any]) -> str:
    """A kustomization that also lists DOOR_PATCH, for a target; all else stays as it is written.

    Raises LayoutError where it is written so that lines can't be added.
    """
    document = load_kustomization(text, name)
    entry = {"path": DOOR_PATCH, "target": dict(target)}
    patches = document.get("patches") or []
    if any(isinstance(each, dict) and each.get("path") == DOOR_PATCH for each in patches):
        return text
    lines = yaml.safe_dump([entry], sort_keys=False, default_flow_style=False)
    end = "\r\n" if "\r\n" in text else "\n"
    changed = _with_lines(text, lines.splitlines(), end)
    try:
        result = yaml.safe_load(changed)
    except (yaml.YAMLError, RecursionError):
        result = None
    if result != {**document, "patches": [*patches, entry]}:
        raise LayoutError(
            f"{name} lists its patches in a way that no line can be added to",
            f"add this to them yourself:\n{lines.rstrip()}",
        )
    return changed


def _with_lines(text: str, lines: list[str], end: str) -> str:
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    items = next((value for key, value in root.value if key.value == "patches"), None)
    if items is None:
        whole = text if text.endswith("\n") else text + end
        return whole + end.join(["patches:", *lines, ""])
    last = items.value[-1] if isinstance(items, yaml.SequenceNode) and items.value else items
    indent = " " * (items.start_mark.column)
    # A node ends where the next one begins: blank lines and comments between are not its own.
    content = len(text[: last.end_mark.index].rstrip())
    stop = text.find("\n", content)
    head, tail = (text + end, "") if stop < 0 else (text[: stop + 1], text[stop + 1 :])
    return head + "".join(f"{indent}{line}{end}" for line in lines) + tail
