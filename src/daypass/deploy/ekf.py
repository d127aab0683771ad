"""Adopt an EKF deployments repository, laid out as the published guide has it.

    rok/kubernetes-proxy/overlays/deploy/             the EKF domain
    rok/kubernetes-proxy-serving/overlays/deploy/     the Serving domain
        kustomization.yaml                            lists the patch, with an Ingress as its target
        patches/ingress_host.json                     the patch that sets the host of the Ingress

The guide: docs.arrikto.com, "Expose TokenRequest API for External Clients". The bases below the
overlays are not public: nothing is assumed of them. Nothing is written here: functions return
edits. Files are edited as text, so that formatting, comments and line endings stay.

`--adopt hosts` is the edit of the guide. `--adopt door` hands the hosts over to the door. EKF's
Ingress leads to the API server itself, and an Ingress reaches only Services of its own namespace.
To lead it to the door would take a Service of type ExternalName (which controllers refuse, or
resolve in ways of their own), a copy of the door's authority, and a rewrite undone in a base nobody
can see. So it gets a class that no controller serves, and daypass's own Ingress takes the host and
the prefix. Applying the overlay takes effect at once, and `git revert` restores it.
"""

import copy
import operator
import os
import posixpath
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import yaml

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.process import ProgramError, run_program
from daypass.deploy.git import Edit, link_on_the_way, read_text

FOLDERS = {
    "ekf": "rok/kubernetes-proxy/overlays/deploy",
    "serving": "rok/kubernetes-proxy-serving/overlays/deploy",
}
"""The overlays, by domain."""
PLACEHOLDERS = frozenset(
    {"arrikto-cluster.apps.example.com", "arrikto-cluster-serving.serving.example.com"}
)
"""The guide's own hosts: an overlay with one of them publishes nothing yet."""
LIMIT_CHARACTERS = 256 * 1024
LIMIT_NODES = 10_000
LIMIT_BUILT_BYTES = 16 * 1024 * 1024
_BUILD_SECONDS = 120.0
"""A base may be in another repository, which kustomize downloads."""

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_HOST_PATCHES = tuple(f"patches/ingress_host.{end}" for end in ("json", "yaml", "yml"))
_DOOR_PATCH = "patches/daypass_door.yaml"
_HOST = "/spec/rules/0/host"
_HOST_PARENTS = ("", "/spec", "/spec/rules", "/spec/rules/0")
_USUAL_PATCH = (
    f'the usual one: [{{"op": "replace", "path": "{_HOST}", "value": "ekf.example.com"}}]'
)
_HANDED_OVER = "handed-over-to-daypass"
"""The class of an Ingress that no controller serves."""
_CLASS = "kubernetes.io/ingress.class"
_DOOR_PATCH_TEXT = f"""\
# daypass publishes this host, by an Ingress of its own that leads to the door. This one led to the
# API server itself: with this class no controller serves it. `git revert` takes it back.
- op: {{op}}
  path: {{path}}
  value: {_HANDED_OVER}
"""
# An Ingress can't have both: the annotation where the base has it, else the field.
_BY_ANNOTATION = _DOOR_PATCH_TEXT.format(
    op="replace", path="/metadata/annotations/kubernetes.io~1ingress.class"
)
_BY_FIELD = _DOOR_PATCH_TEXT.format(op="add", path="/spec/ingressClassName")
_ROK_DEPLOY = "rok-deploy"
_BUILDERS = (("kubectl", "kustomize"), ("kustomize", "build"))


class LayoutError(DaypassError):
    """A repository that is not laid out as an EKF one; nothing is changed."""


class PatchError(DaypassError):
    """A patch in an unknown form; nothing is changed."""


class BuildError(DaypassError):
    """An overlay could not be built on this machine."""


class ApplyError(DaypassError):
    """An overlay could not be applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPatch:
    """A patch that sets a host: at `keys` of `document`, from `start` to `end` of `text`."""

    name: str
    text: str
    document: Any
    keys: tuple[str | int, ...]
    start: int
    end: int

    @property
    def host(self) -> str:
        return str(reduce(operator.getitem, self.keys, self.document))

    def mentions(self) -> list[str]:
        """Return other places of the patch with the same host, as JSON pointers."""
        found = _places(self.document, self.host)
        return ["/" + "/".join(map(str, keys)) for keys in found if keys != self.keys]

    def with_host(self, host: str) -> str:
        """Return the text with another host. Raises PatchError if more than the host changes."""
        quote = self.text[self.start] if self.text[self.start] in "\"'" else ""
        text = f"{self.text[: self.start]}{quote}{host}{quote}{self.text[self.end :]}"
        *parents, last = self.keys
        expected = copy.deepcopy(self.document)
        reduce(operator.getitem, parents, expected)[last] = host
        try:
            result = yaml.safe_load(text.replace("\t", " "))
        except yaml.YAMLError:
            result = None
        if result != expected:
            raise PatchError(
                f"{self.name}: the host cannot be changed without changing something else",
                f"edit it yourself: the host is {host}",
            )
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlay; `folder`, `kustomization` and the name of `patch` are relative to `root`.

    `target`: that of its entry for the patch.
    """

    domain: str
    root: Path
    folder: str
    kustomization: str
    patch: HostPatch
    target: dict[str, Any] | None


def overlays(root: Path) -> list[Overlay]:
    """Return the overlays of a repository, the EKF domain's first.

    Raises LayoutError and PatchError.
    """
    found = [
        _overlay(root, domain, folder)
        for domain, folder in FOLDERS.items()
        if (root / folder).is_dir()
    ]
    if not found:
        raise LayoutError(
            f"{root} is not an EKF deployments repository: it has no"
            f" {' and no '.join(FOLDERS.values())}",
            "name its top folder: " + command("init", Placeholder("DIR"), "--adopt", "hosts"),
        )
    return found


def _overlay(root: Path, domain: str, folder: str) -> Overlay:
    files = [f"{folder}/{name}" for name in _KUSTOMIZATIONS if (root / folder / name).is_file()]
    if len(files) != 1:
        what = "no kustomization.yaml" if not files else "more than one kustomization"
        raise LayoutError(f"{folder} has {what}", "is the checkout complete? git status")
    name = files[0]
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
        raise LayoutError(f"{path} is for a {target['kind']}, not for an Ingress")
    return Overlay(
        domain=domain,
        root=root,
        folder=folder,
        kustomization=name,
        patch=read_patch(_text(root, path), path),
        target=target if isinstance(target, dict) else None,
    )


def _entries(text: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the patches of a kustomization, in each of kustomize's three forms."""
    document = load_kustomization(text, name)
    for key in ("patches", "patchesJson6902", "patchesStrategicMerge"):
        for entry in document.get(key) or ():
            if isinstance(entry, str):
                yield {"path": posixpath.normpath(entry)}
            elif isinstance(entry, dict) and isinstance(entry.get("path"), str):
                yield {**entry, "path": posixpath.normpath(entry["path"])}


def _text(root: Path, name: str) -> str:
    """Return the text of a file. A link may lead out of the repository and is refused."""
    link = link_on_the_way(root / name, root)
    if link is not None:
        raise LayoutError(f"{link.relative_to(root)} is a link", "edit what it leads to yourself")
    text = read_text(root / name)
    if text is None:
        raise LayoutError(f"{name} is not there", "is the checkout complete? git status")
    return text


def load_kustomization(text: str, name: str) -> dict[str, Any]:
    """Return a kustomization as a mapping. Raises LayoutError."""
    try:
        _, document = _load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise LayoutError(f"{name} is not a kustomization", "restore it with git")
    return document


def read_patch(text: str, name: str) -> HostPatch:
    """Return the patch in a text; `name` is its name in messages.

    Accepts a JSON patch (RFC 6902) with one `add` or `replace` of the first host, among other
    operations, and an Ingress as a strategic merge patch. Raises PatchError for all else.
    """
    try:
        # Of the same length: JSON may be indented by tabs, YAML may not.
        node, value = _load(text.replace("\t", " "))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" on line {where.line + 1}" if where is not None else ""
        raise PatchError(f"{name} is neither JSON nor YAML{line}", "restore it with git") from None
    keys: tuple[str | int, ...] = ("spec", "rules", 0, "host")
    if isinstance(value, list):
        keys = _host_operation(value, name), "value"
    elif not (isinstance(value, dict) and value.get("kind") == "Ingress"):
        raise PatchError(f"{name} is neither a JSON patch nor a patch of an Ingress", _USUAL_PATCH)
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key] if key < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            # Of a duplicate key the last, as the loader takes it.
            node = next((v for k, v in reversed(node.value) if k.value == key), None)
        else:
            node = None
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise PatchError(f"{name} sets no host as a text at {_HOST}", _USUAL_PATCH)
    start, end = node.start_mark.index, node.end_mark.index
    return HostPatch(name=name, text=text, document=value, keys=keys, start=start, end=end)


def _host_operation(operations: list[Any], name: str) -> int:
    """Return the index of the operation of a JSON patch that sets the host."""
    found = []
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError(f"{name}: operation {index + 1} is not valid", _USUAL_PATCH)
        verb, path = operation.get("op"), operation["path"]
        if path in _HOST_PARENTS or (path == _HOST and verb not in ("add", "replace", "test")):
            raise PatchError(
                f"{name}: operation {index + 1} is `{verb}` at {path or 'the root'}",
                "it changes more than the host: edit the patch yourself",
            )
        if path == _HOST and verb != "test":
            found.append(index)
    if len(found) != 1:
        count = "no operation sets" if not found else f"{len(found)} operations set"
        raise PatchError(f"{name}: {count} {_HOST}", _USUAL_PATCH)
    return found[0]


def _load(text: str) -> tuple[Any, Any]:
    """Return the root node and the value of a YAML document.

    The pure loader counts characters, not bytes. Raises YAMLError, RecursionError, and ValueError
    for a value that does not fit its tag, and for more text or nodes, those of aliases counted each
    time, than people write: visiting all of them might not end.
    """
    if len(text) > LIMIT_CHARACTERS:
        raise ValueError("too long")
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = LIMIT_NODES + 1  # for one that contains itself
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            if isinstance(node, yaml.MappingNode):
                parts = [each for pair in parts for each in pair]
            sizes[id(node)] = 1 + sum(size(each) for each in parts)
        return sizes[id(node)]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > LIMIT_NODES:
        raise ValueError("too many nodes")
    try:
        return root, yaml.safe_load(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError):  # such as of `!!int ""`
        raise ValueError("a value does not fit its tag") from None


def _places(value: Any, host: str, keys: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [p for key, each in value.items() for p in _places(each, host, (*keys, key))]
    if isinstance(value, list):
        return [p for i, each in enumerate(value) for p in _places(each, host, (*keys, i))]
    return [keys] if value == host else []


def adopt_hosts(overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> list[Edit]:
    """Return the guide's edit: these hosts, by domain, in the patches.

    Raises UsageError as `resulting_hosts`, and PatchError.
    """
    after = resulting_hosts(overlays, hosts)
    return [
        Edit(
            path=overlay.root / overlay.patch.name,
            before=overlay.patch.text,
            after=overlay.patch.with_host(after[overlay.domain]),
        )
        for overlay in overlays
        if after[overlay.domain] != overlay.patch.host
    ]


def resulting_hosts(overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> dict[str, str]:
    """Return the host of each domain after the edit.

    Raises UsageError for a domain without an overlay, or one host for both domains.
    """
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


def hand_over(overlay: Overlay) -> list[Edit]:
    """Return edits after which no controller serves the overlay's Ingress.

    Raises LayoutError, and BuildError if the overlay can't be built here.
    """
    ingresses = _build_ingresses(overlay.root, overlay.folder)
    if len(ingresses) != 1:
        raise LayoutError(
            f"{overlay.folder} builds {len(ingresses)} Ingresses, where one is expected"
        )
    (ingress,) = ingresses
    path = overlay.root / overlay.folder / _DOOR_PATCH
    before = read_text(path)
    if before not in (None, _BY_ANNOTATION, _BY_FIELD):
        raise LayoutError(
            f"{overlay.folder}/{_DOOR_PATCH} is there, and is not as daypass writes it",
            "move it away, or restore it with git",
        )
    name = overlay.kustomization
    listing = read_text(overlay.root / name) or ""
    target = overlay.target or {"kind": "Ingress", "name": ingress["metadata"]["name"]}
    text = _BY_ANNOTATION if _CLASS in _annotations(ingress) else _BY_FIELD
    edits = [
        Edit(path=path, before=before, after=text),
        Edit(path=overlay.root / name, before=listing, after=with_patch(listing, name, target)),
    ]
    return [edit for edit in edits if edit.after != edit.before]


def is_handed_over(ingress: Mapping[str, Any]) -> bool:
    """Return whether no controller serves an Ingress."""
    classes = {_annotations(ingress).get(_CLASS), ingress["spec"].get("ingressClassName")}
    return classes - {None} == {_HANDED_OVER}


def _annotations(ingress: Mapping[str, Any]) -> dict[str, str]:
    return ingress["metadata"].get("annotations") or {}


def with_patch(text: str, name: str, target: Mapping[str, Any]) -> str:
    """Return a kustomization that also lists the door's patch. Raises LayoutError if it can't."""
    document = load_kustomization(text, name)
    entry = {"path": _DOOR_PATCH, "target": dict(target)}
    patches = document.get("patches") or []
    if any(isinstance(each, dict) and each.get("path") == _DOOR_PATCH for each in patches):
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
    # A node ends where the next one begins: blank lines and comments between are not part of it.
    content = len(text[: last.end_mark.index].rstrip())
    stop = text.find("\n", content)
    head, tail = (text + end, "") if stop < 0 else (text[: stop + 1], text[stop + 1 :])
    return head + "".join(f"{indent}{line}{end}" for line in lines) + tail


def _build_ingresses(root: Path, folder: str) -> list[dict[str, Any]]:
    line = next((each for each in _BUILDERS if shutil.which(each[0])), None)
    if line is None:
        raise BuildError(f"{folder} was not built", "neither kubectl nor kustomize is on the PATH")
    try:
        run = partial(run_program, timeout_seconds=_BUILD_SECONDS, limit_bytes=LIMIT_BUILT_BYTES)
        built = run([*line, str(root / folder)], clock=SYSTEM_CLOCK)
    except ProgramError as error:
        words = error.stderr.decode(errors="replace").strip()
        fact = f"{folder} was not built: {' '.join([*line, folder])} {error.reason}"
        raise BuildError(fact, words) from None
    return [
        document
        for document in yaml.safe_load_all(built)
        if isinstance(document, dict) and document.get("kind") == "Ingress"
    ]


def verify_built(root: Path, folder: str, host: str, *, handed_over: bool) -> None:
    """Raise LayoutError if an overlay builds an Ingress with another host or class; BuildError."""
    ingresses = _build_ingresses(root, folder)
    if handed_over and not (ingresses and all(map(is_handed_over, ingresses))):
        raise LayoutError(
            f"{folder} still builds an Ingress that is served", "what other patch sets its class?"
        )
    hosts = [(each["spec"].get("rules") or [{}])[0].get("host") for each in ingresses]
    if not handed_over and host not in hosts:
        raise LayoutError(
            f"{folder} builds no Ingress with the host {host}",
            f"it builds {', '.join(map(str, hosts)) or 'none'}: what other patch changes it?",
        )


def apply_command(
    folder: str, kubeconfig: str | None = None, context: str | None = None
) -> list[str]:
    """Return the command that applies an overlay: rok-deploy if installed, else kubectl."""
    if shutil.which(_ROK_DEPLOY):
        return [_ROK_DEPLOY, "--apply", folder]
    cluster = ["--kubeconfig", os.path.abspath(kubeconfig)] if kubeconfig else []
    cluster += ["--context", context] if context else []
    return ["kubectl", "apply", "--server-side", *cluster, "-k", folder]


def verify_appliable(context: str | None) -> None:
    """Raise UsageError if `apply` could not even begin."""
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
    """Apply an overlay in `root`, with its output on stderr. Raises ApplyError."""
    line = apply_command(folder, kubeconfig, context)
    variables = {"KUBECONFIG": os.path.abspath(kubeconfig)} if kubeconfig else {}
    done = subprocess.run(line, cwd=root, env={**os.environ, **variables}, stdout=2, check=False)
    if done.returncode != 0:
        raise ApplyError(
            f"{line[0]} could not apply {folder} (it ended with {done.returncode})",
            f"its output is above; to run it again: {shlex.join(line)}",
        )
