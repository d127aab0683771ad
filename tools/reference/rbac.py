"""The objects of the gate's programs in docs/reference/rbac.md."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from daypass._core.objects import Object
from daypass.config import Gate
from daypass.config.models import Config
from daypass.render.rbac import authorizer_rbac, namespace_rights, watcher_rbac

LONGEST = 130
_DOMAIN = {"host": "kubeflow.example.com", "front": "istio", "tls": "outside"}
CONFIG = Config.model_validate({"version": 1, "domains": {"kubeflow": _DOMAIN}})


def gate_watch() -> str:
    """Return the objects of a watch, and those in a namespace of identities."""
    gate = Gate(audience="gate.example.com", check="review")
    return _yaml([*watcher_rbac(CONFIG, gate), *namespace_rights("team", CONFIG.door.namespace)])


def gate_serve() -> str:
    """Return the objects of an authorizer, with those for Envoy Gateway alone."""
    gate = Gate(audience="gate.example.com", engine="envoy-gateway", check="review")
    return _yaml(authorizer_rbac(gate, CONFIG.door.namespace))


def _yaml(objects: Iterable[Object]) -> str:
    return "```yaml\n" + "---\n".join(map(_compact, objects)) + "```"


def _compact(value: Object) -> str:
    """Return an object in few lines: an item of a list is in one, if it fits."""
    lines = []
    for key, content in value.items():
        if isinstance(content, list):
            lines.append(f"{key}:\n")
            for item in content:
                line = f"- {_dumped(item, flow=True)}"
                lines.append(line if len(line) <= LONGEST else _dumped([item], flow=None))
        else:
            lines.append(_dumped({key: content}, flow=None if isinstance(content, dict) else False))
    return "".join(lines)


def _dumped(value: object, *, flow: bool | None) -> str:
    """Return a value with `[a, b]` and `{a: b}`: everywhere, in its innermost parts, or nowhere."""
    width = 2**20 if flow else LONGEST
    return str(yaml.safe_dump(value, sort_keys=False, width=width, default_flow_style=flow))
