"""The layout of an EKF deployments repository, as far as adopting it relies on it.

    rok/kubernetes-proxy/overlays/deploy/             the EKF domain
    rok/kubernetes-proxy-serving/overlays/deploy/     the Serving domain
        kustomization.yaml                            lists the patch, with an Ingress as its target
        patches/ingress_host.json                     the patch that sets the Ingress' host

That is what the published guide shows (docs.arrikto.com, "Expose TokenRequest API for External
Clients"). The bases below are not public: nothing is assumed of them.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from daypass._core.errors import DaypassError
from daypass._core.hints import Placeholder, command
from daypass.deploy.edits import link_on_the_way, read
from daypass.deploy.host_patch import HostPatch, compose, load, read_patch

FOLDERS = {
    "ekf": "rok/kubernetes-proxy/overlays/deploy",
    "serving": "rok/kubernetes-proxy-serving/overlays/deploy",
}
"""The overlays, by the name of their domain."""

PLACEHOLDERS = frozenset(
    {"arrikto-cluster.apps.example.com", "arrikto-cluster-serving.serving.example.com"}
)
"""The guide's own hosts: an overlay that has one of them publishes nothing yet."""

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_HOST_PATCHES = tuple(f"patches/ingress_host.{end}" for end in ("json", "yaml", "yml"))


class LayoutError(DaypassError):
    """A repository that is not laid out as an EKF one is: nothing is changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """One of the two overlays. `folder` is relative to `root`, the top of the repository's tree.

    `kustomization`: the file. `target`: what its entry for the host patch says it is for.
    """

    domain: str
    root: Path
    folder: str
    kustomization: Path
    patch_path: Path
    patch: HostPatch
    target: dict[str, Any] | None


def overlays(root: Path) -> list[Overlay]:
    """The overlays in a repository, the EKF domain's first.

    Raises LayoutError where there is none, or where one is not as assumed, and PatchError.
    """
    found = [
        _overlay(root, domain, folder)
        for domain, folder in FOLDERS.items()
        if (root / folder).is_dir()
    ]
    if not found:
        folders = " and no ".join(FOLDERS.values())
        raise LayoutError(
            f"{root} is no EKF deployments repository: it has no {folders}",
            "name its top folder: " + command("init", Placeholder("DIR"), "--adopt", "hosts"),
        )
    return found


def _overlay(root: Path, domain: str, folder: str) -> Overlay:
    files = [root / folder / name for name in KUSTOMIZATIONS if (root / folder / name).is_file()]
    if len(files) != 1:
        what = "no kustomization.yaml" if not files else "more than one kustomization"
        raise LayoutError(f"{folder} has {what}", "is the checkout complete? git status")
    name = f"{folder}/{files[0].name}"
    entries = [e for e in _entries(_text(root, name), name) if e.get("path") in _HOST_PATCHES]
    if len(entries) != 1:
        count = "does not list" if not entries else "lists more than once"
        raise LayoutError(
            f"{name} {count} {_HOST_PATCHES[0]}",
            "an entry of its patches that is for the Ingress is expected:\n"
            f"patches: [{{path: {_HOST_PATCHES[0]}, target: {{kind: Ingress, name: NAME}}}}]",
        )
    path = posixpath.join(folder, entries[0]["path"])
    target = entries[0].get("target")
    if isinstance(target, dict) and target.get("kind", "Ingress") != "Ingress":
        raise LayoutError(f"{path} is for a {target['kind']}, not for an Ingress", "")
    return Overlay(
        domain=domain,
        root=root,
        folder=folder,
        kustomization=files[0],
        patch_path=root / path,
        patch=read_patch(_text(root, path), path),
        target=target if isinstance(target, dict) else None,
    )


def _entries(text: str, name: str) -> Iterator[dict[str, Any]]:
    """What a kustomization lists as patches, in each of the three forms that kustomize knows."""
    document = load_kustomization(text, name)
    for key in ("patches", "patchesJson6902", "patchesStrategicMerge"):
        for entry in document.get(key) or ():
            if isinstance(entry, str):
                yield {"path": posixpath.normpath(entry)}
            elif isinstance(entry, dict) and isinstance(entry.get("path"), str):
                yield {**entry, "path": posixpath.normpath(entry["path"])}


def load_kustomization(text: str, name: str) -> dict[str, Any]:
    """A kustomization as a mapping. Raises LayoutError."""
    try:
        compose(text)
        document = load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise LayoutError(f"{name} is no kustomization", "restore it with git")
    return document


def _text(root: Path, name: str) -> str:
    """A file of the repository. A link, also of a folder, may lead out of it: refused."""
    link = link_on_the_way(root / name, root)
    if link is not None:
        raise LayoutError(f"{link.relative_to(root)} is a link", "edit what it leads to yourself")
    text = read(root / name)
    if text is None:
        raise LayoutError(f"{name} is not there", "is the checkout complete? git status")
    return text
