"""The layout of an EKF deployments repository, as far as adopting it relies on it.

    rok/kubernetes-proxy/overlays/deploy/             the EKF domain
    rok/kubernetes-proxy-serving/overlays/deploy/     the Serving domain
        kustomization.yaml                            lists the patch, with an Ingress as its target
        patches/ingress_host.json                     the patch that sets the Ingress' host

That is what the published guide shows (docs.arrikto.com, "Expose TokenRequest API for External
Clients"). The bases below are not public: nothing is assumed of them.

Adopting an EKF deployments repository: the edit of the published guide, and nothing else.

Nothing is written here.

Handing EKF's hosts over to the door: which files change, and how. Nothing is written here.

EKF's Ingress leads to the API server itself, from whatever namespace it is in, and an Ingress
reaches Services of its own namespace only. So it isn't bent towards the door: that would take a
Service of type ExternalName (which controllers refuse, or resolve in ways of their own), the door's
authority copied into that namespace, and a rewrite and a pattern undone that are in a base nobody
can see. It is given a class that no controller serves, and daypass' own Ingress, beside the door,
takes the host and the prefix. It is the same object before and after: applying the overlay takes
effect at once, and `git revert` takes it back.

Overlays of an EKF repository built and applied, by the tools that its people use.
"""

import os
import posixpath
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import Placeholder, command, kubectl
from daypass.deploy.edits import Edit, link_on_the_way, read
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


def adopt_hosts(overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> list[Edit]:
    """The guide's edit: these hosts, by domain, in the patches of the overlays.

    Raises UsageError for a domain that the repository has not, or one host for both; PatchError
    where a patch cannot be edited.
    """
    after = resulting_hosts(overlays, hosts)
    return [
        Edit(
            path=overlay.patch_path,
            before=overlay.patch.text,
            after=overlay.patch.with_host(after[overlay.domain]),
        )
        for overlay in overlays
        if after[overlay.domain] != overlay.patch.host
    ]


def resulting_hosts(overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> dict[str, str]:
    """The host of each domain of the repository, once these are in it. Raises UsageError."""
    present = {overlay.domain: overlay.patch.host for overlay in overlays}
    for domain in hosts.keys() - present.keys():
        raise UsageError(f"this repository has no {FOLDERS[domain]}", f"leave --{domain}-host out")
    after = {**present, **hosts}
    if len(set(after.values())) < len(after):
        raise UsageError(
            f"{after['ekf']} would be the host of both domains",
            "give each its own with --ekf-host and --serving-host",
        )
    return after


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


_ROK_DEPLOY = "rok-deploy"
_BUILDERS = (("kubectl", "kustomize"), ("kustomize", "build"))


class BuildError(DaypassError):
    """An overlay could not be built on this machine, as its tool says."""


class ApplyError(DaypassError):
    """An overlay could not be applied, as its tool says."""


def apply_command(
    folder: str, kubeconfig: str | None = None, context: str | None = None
) -> list[str]:
    """What applies an overlay: rok-deploy where it is there, else kubectl, server-side."""
    if shutil.which(_ROK_DEPLOY):
        return [_ROK_DEPLOY, "--apply", folder]
    cluster = [
        *(("--kubeconfig", os.path.abspath(kubeconfig)) if kubeconfig else ()),
        *(("--context", context) if context else ()),
    ]
    return ["kubectl", "apply", "--server-side", *cluster, "-k", folder]


def verify_appliable(context: str | None) -> None:
    """Raise UsageError where `apply` could not even begin."""
    if shutil.which(_ROK_DEPLOY):
        if context:
            raise UsageError(
                "rok-deploy knows no --context", kubectl("config", "use-context", context)
            )
    elif not shutil.which("kubectl"):
        raise UsageError(
            "neither rok-deploy nor kubectl is on the PATH", "leave --apply out, or install one"
        )


def apply(root: Path, folder: str, *, kubeconfig: str | None, context: str | None) -> None:
    """Apply an overlay, in `root` as the guide does; its output goes to stderr.

    Raises ApplyError where the tool fails.
    """
    command = apply_command(folder, kubeconfig, context)
    environment = {
        **os.environ,
        **({"KUBECONFIG": os.path.abspath(kubeconfig)} if kubeconfig else {}),
    }
    done = subprocess.run(command, cwd=root, env=environment, stdout=2, check=False)
    if done.returncode != 0:
        raise ApplyError(
            f"{command[0]} could not apply {folder} (it ended with {done.returncode})",
            f"its own words are above; again: {shlex.join(command)}",
        )


def build_ingresses(root: Path, folder: str) -> list[dict[str, Any]]:
    """The Ingresses that an overlay builds. Raises BuildError where it can't be built here."""
    command = next(
        ([*each, folder] for each in _BUILDERS if shutil.which(each[0])),
        None,
    )
    if command is None:
        raise BuildError(f"{folder} was not built", "neither kubectl nor kustomize is on the PATH")
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise BuildError(f"{folder} was not built: {' '.join(command)} failed", words)
    return [
        document
        for document in yaml.safe_load_all(done.stdout)
        if isinstance(document, dict) and document.get("kind") == "Ingress"
    ]


def verify_built(root: Path, folder: str, host: str, *, handed_over: bool) -> None:
    """Build an overlay and look at its Ingress.

    Raises LayoutError where it has another host, or another class than it was given; BuildError.
    """
    ingresses = build_ingresses(root, folder)
    hosts = [first_host(each) for each in ingresses]
    if handed_over and not (ingresses and all(is_handed_over(each) for each in ingresses)):
        raise LayoutError(
            f"{folder} still builds an Ingress that is served", "what other patch sets its class?"
        )
    if not handed_over and host not in hosts:
        raise LayoutError(
            f"{folder} builds no Ingress with the host {host}",
            f"it builds {', '.join(map(str, hosts)) or 'none'}: what other patch changes it?",
        )
