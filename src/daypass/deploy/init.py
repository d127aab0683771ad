"""What `daypass init` writes: a new daypass.yaml, and the edits of an EKF deployments repository.

The repository is laid out as the published guide has it:

    rok/kubernetes-proxy/overlays/deploy/             the EKF domain
    rok/kubernetes-proxy-serving/overlays/deploy/     the Serving domain
        kustomization.yaml                            lists the patch, with an Ingress as its target
        patches/ingress_host.json                     the patch that sets the host of the Ingress

The guide: docs.arrikto.com, "Expose TokenRequest API for External Clients". The bases below the
overlays are not public: nothing is assumed of them. Nothing is written here: functions return the
new text of files by their paths. Files are edited as text, so that formatting and comments stay.

`--adopt hosts` is the edit of the guide. `--adopt door` hands the hosts over to the door. EKF's
Ingress leads to the API server itself, and an Ingress reaches only Services of its own namespace.
So it gets a class that no controller serves, and daypass's own Ingress takes the host and the
prefix. Applying the overlay takes effect at once, and `git revert` restores it.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, docs_page
from daypass.analysis.routes import HANDED_OVER
from daypass.config import ConfigError, parse
from daypass.config.domain import OUTSIDE
from daypass.config.schema import EDITOR_LINE

CONFIG = "daypass.yaml"
_HEAD = f"""\
{EDITOR_LINE}
# Editors check this file after: {command("config", "schema")} > daypass.schema.json
# Every key: {docs_page("reference/daypass-yaml.md")}
version: 1

# Where the door is published.
"""
_POLICY = "\n# What short-lived tokens the API server may issue in the namespaces of identities.\n"
_GATE = """
# The check in front of the APIs that the tokens are for: it refuses every other token there.
# gates:
#   default:
#     audience: {audience}
"""


def config_text(
    hosts: Mapping[str, str],
    *,
    front: str,
    tls: str | None,
    gateway: str | None,
    audience: str | None,
) -> str:
    """Return the text of a config; `hosts` by the names of their domains.

    Raises UsageError if the options make no valid config.
    """
    if tls is None and gateway is None:
        raise UsageError(
            "where does the certificate come from?",
            "--tls secret:NAME, --tls issuer:NAME (cert-manager), or --tls outside if the ingress"
            " or gateway has it",
        )
    source, _, name = (tls or OUTSIDE).partition(":")
    keys: dict[str, Any] = {"front": front, "tls": {source: name} if name else source}
    if gateway is not None:
        keys["gateway"] = gateway
    domains = {domain: {"host": host, **keys} for domain, host in hosts.items()}
    text = _HEAD + _block({"domains": domains}) + _POLICY
    if audience is None:
        text += "# policy:\n#   audiences: [YOUR-AUDIENCE]\n"
    else:
        text += _block({"policy": {"audiences": [audience]}})
    text += _GATE.format(audience=audience or "YOUR-AUDIENCE")
    try:
        parse(text.encode(), name=CONFIG, folder=Path.cwd())
    except ConfigError as error:
        problem = error.problems[0]
        raise UsageError(problem.message, problem.hint) from None
    return text


def _block(section: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(section, sort_keys=False))


FOLDERS = {
    "ekf": "rok/kubernetes-proxy/overlays/deploy",
    "serving": "rok/kubernetes-proxy-serving/overlays/deploy",
}
"""The overlays, by domain."""

_KUSTOMIZATION = "kustomization.yaml"
_HOST_PATCH = "patches/ingress_host.json"
_HOST = "/spec/rules/0/host"
_USUAL_PATCH = f'[{{"op": "replace", "path": "{_HOST}", "value": "ekf.example.com"}}]'
_DOOR_PATCH = "patches/daypass_door.yaml"
_CLASS = "kubernetes.io/ingress.class"
_DOOR_PATCH_TEXT = """\
# daypass publishes this host, by an Ingress of its own that leads to the door. This one led to the
# API server itself: with this class no controller serves it. `git revert` takes it back.
- op: {op}
  path: {path}
  value: {handed_over}
"""
# An Ingress can't have both: the annotation where the base has it, else the field.
_BY_ANNOTATION = _DOOR_PATCH_TEXT.format(
    op="replace",
    path="/metadata/annotations/kubernetes.io~1ingress.class",
    handed_over=HANDED_OVER,
)
_BY_FIELD = _DOOR_PATCH_TEXT.format(
    op="add", path="/spec/ingressClassName", handed_over=HANDED_OVER
)


class LayoutError(DaypassError):
    """A repository that is not as the guide has it; nothing is changed."""


def set_host(root: Path, domain: str, host: str) -> dict[Path, str]:
    """Return the guide's edit: the patch with this host. Raises LayoutError."""
    path = root / FOLDERS[domain] / _HOST_PATCH
    text = _text(path)
    try:
        operations = json.loads(text)
        (operation,) = [each for each in operations if each["path"] == _HOST]
        old = json.dumps(operation["value"])
    except (ValueError, KeyError, TypeError):
        raise LayoutError(
            f"{path} is not a JSON patch with one operation at {_HOST}",
            f"the usual one: {_USUAL_PATCH}",
        ) from None
    changed = text.replace(old, json.dumps(host))
    operation["value"] = host
    if json.loads(changed) != operations:
        raise LayoutError(f"{path} has {old} in several places", f"edit it yourself: {host}")
    return {path: changed}


def hand_over(root: Path, domain: str) -> dict[Path, str]:
    """Return edits after which no controller serves the overlay's Ingress. Raises LayoutError."""
    overlay = root / FOLDERS[domain]
    listing = _text(overlay / _KUSTOMIZATION)
    metadata = _built_ingress(overlay)["metadata"]
    is_annotated = _CLASS in (metadata.get("annotations") or {})
    return {
        overlay / _DOOR_PATCH: _BY_ANNOTATION if is_annotated else _BY_FIELD,
        overlay / _KUSTOMIZATION: _with_patch(overlay, listing, metadata["name"]),
    }


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise LayoutError(
            f"{path} cannot be read: {error}",
            "DIR is the top folder of an EKF deployments repository, the one with rok/",
        ) from None


def _built_ingress(overlay: Path) -> dict[str, Any]:
    """Return the Ingress that an overlay builds."""
    try:
        line = ["kubectl", "kustomize", str(overlay)]
        built = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise LayoutError(f"{overlay} cannot be built", "kubectl is not on the PATH") from None
    except subprocess.CalledProcessError as error:
        raise LayoutError(f"{overlay} cannot be built", error.stderr.strip()) from None
    found = [each for each in yaml.safe_load_all(built) if each["kind"] == "Ingress"]
    if len(found) != 1:
        raise LayoutError(f"{overlay} builds {len(found)} Ingresses, where one is expected")
    ingress: dict[str, Any] = found[0]
    return ingress


def _with_patch(overlay: Path, text: str, ingress: str) -> str:
    """Return a kustomization that lists the door's patch, too."""
    document = yaml.safe_load(text)
    entry = {"path": _DOOR_PATCH, "target": {"kind": "Ingress", "name": ingress}}
    patches = document.get("patches") or []
    if entry in patches:
        return text
    lines = yaml.safe_dump([entry], sort_keys=False).splitlines()
    if items := re.search(r"^patches:[^\n]*\n( *)(?=-)", text, re.MULTILINE):
        new = "".join(f"{items[1]}{line}\n" for line in lines)
        start = items.start(1)
        changed = text[:start] + new + text[start:]
    else:
        changed = "\n".join([text.rstrip("\n"), "patches:", *lines, ""])
    if yaml.safe_load(changed) != {**document, "patches": [entry, *patches]}:
        raise LayoutError(
            f"{overlay / _KUSTOMIZATION} lists its patches in another form",
            "add this to them yourself:\n" + "\n".join(lines),
        )
    return changed


def overlay_command(domain: str) -> list[str]:
    """Return the command that applies an overlay: rok-deploy if installed, else kubectl."""
    if shutil.which("rok-deploy"):
        return ["rok-deploy", "--apply", FOLDERS[domain]]
    return ["kubectl", "apply", "--server-side", "-k", FOLDERS[domain]]
