"""The objects of the gate's programs in docs/reference/rbac.md."""

from __future__ import annotations

from collections.abc import Iterable

from daypass.config import Gate
from daypass.config.models import Config
from daypass.render.objects import Object
from daypass.render.rbac import authorizer_rbac, namespace_rights, watcher_rbac
from daypass.render.yaml import stream

_DOMAIN = {"host": "kubeflow.example.com", "front": "istio", "tls": "outside"}
CONFIG = Config.model_validate({"version": 1, "domains": {"kubeflow": _DOMAIN}})


def gate_watch() -> str:
    """Return the objects of a watch, and those in a namespace of identities."""
    gate = Gate(audience="gate.example.com", check="both")
    return _yaml([*watcher_rbac(CONFIG, gate), *namespace_rights("team", CONFIG.door.namespace)])


def gate_serve() -> str:
    """Return the objects of an authorizer."""
    return _yaml(authorizer_rbac(CONFIG.door.namespace))


def _yaml(objects: Iterable[Object]) -> str:
    return "```yaml\n" + stream(objects).removeprefix("---\n") + "```"
